"""What the exit codes mean: the one place that maps them, and the text under every --help."""

from collections.abc import Iterable

from controller.reasons import Reason

OK = 0
INTERNAL = 1
USAGE = 2
INVALID = 3
NOT_READY = 4
DENIED = 5
STORAGE = 6
STATE = 7
NOT_FOUND = 8
CLUSTER = 9
REFUSED = 10
INTERRUPTED = 130
BROKEN_PIPE = 141

MEANINGS = {
    OK: "all is well; of apply: every Image is Ready",
    INTERNAL: "a bug of Goldmaster",
    USAGE: "the command line is wrong",
    INVALID: "a manifest is wrong",
    NOT_READY: "not every Image is Ready, or not all that was asked for could be done",
    DENIED: "refused by the source policy (--allow-network, --allow-path)",
    STORAGE: "storage trouble: full, damaged, or not to be reached",
    STATE: "the state directory is in use, damaged, or of another version",
    NOT_FOUND: "there is no such object, or no state yet",
    CLUSTER: "the cluster cannot be asked, or does not know our kinds",
    REFUSED: "the cluster does not know us, or a right is missing: the message names it",
    INTERRUPTED: "interrupted; what was fetched is kept for the next time",
}
"""Exit code -> what it says, in the order they are listed. errors.py gives each error class one of these."""

_OF_REASON = {
    Reason.POLICY_DENIED: DENIED,
    Reason.STORAGE_UNAVAILABLE: STORAGE,
    Reason.NO_SPACE: STORAGE,
    Reason.STORAGE_DAMAGED: STORAGE,
}


def of_reasons(reasons: Iterable[Reason | None]) -> int:
    """Return the code of an `apply` by why each image that is not Ready is not: the one they share, else NOT_READY."""
    codes = {_OF_REASON.get(reason, NOT_READY) if reason else NOT_READY for reason in reasons}
    if not codes:
        return OK
    return codes.pop() if len(codes) == 1 else NOT_READY


def epilog() -> str:
    """Return the table for a help page; `\\b` keeps click from flowing it."""
    lines = [f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\b\nExit codes:\n" + "\n".join(lines)
