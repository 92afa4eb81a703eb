"""How people write kinds, as kubectl takes them."""

import click

from controller.model.resource import Key, Kind

_NAMES = {
    Kind.IMAGE: ("images", "image", "gmi"),
    Kind.BACKUP_STORAGE: ("backupstorages", "backupstorage", "gmbs"),
}


def kind_of(name: str) -> Kind:
    """Return the kind that a person names: `images`, `image` or `gmi`. Raises click.BadParameter."""
    for kind, names in _NAMES.items():
        if name.lower() in names:
            return kind
    known = ", ".join(names[0] for names in _NAMES.values())
    raise click.BadParameter(f"there is no kind {name!r}; known: {known}")


def key_of(name: str, namespace: str) -> Key:
    """Return the key of NAME (an Image) or KIND/NAME."""
    kind_name, slash, rest = name.partition("/")
    kind = kind_of(kind_name) if slash else Kind.IMAGE
    return Key(kind, namespace if kind is Kind.IMAGE else "", rest if slash else name)
