"""Text of others on the way to a terminal."""


def printable(text: str) -> str:
    """Spell out what is not printable: it could move the cursor, colour, reorder, or end a line and begin another.

    Nothing is lost, and a lone surrogate (of a file name that is not UTF-8) can be written.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
