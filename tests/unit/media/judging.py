"""How the tests of media ask: whole images in, a verdict or the refusal out."""

from typing import Protocol

from controller import errors
from controller.media.gate import Gate
from controller.media.verdict import Verdict
from controller.model.image import Format
from tests.fakes.images import TIB

QCOW2, VMDK, ISO, RAW = Format.QCOW2, Format.VMDK, Format.ISO, Format.RAW
PIECES = (1, 17, 511, 512, 2**16, 2**20)


class Judge(Protocol):
    def feed(self, data: memoryview | bytes) -> None: ...
    def finish(self, total_bytes: int) -> Verdict: ...


def judged(judge: Judge, image: bytes, *, piece: int = 2**20) -> Verdict:
    for start in range(0, len(image), piece):
        judge.feed(memoryview(image)[start : start + piece])
    return judge.finish(len(image))


def verdict(image: bytes, *, max_bytes: int = TIB) -> tuple[Format, int]:
    found = judged(Gate(max_bytes), image)
    return found.format, found.virtual_size_bytes


def outcome(image: bytes, *, piece: int = 2**20, max_bytes: int = TIB) -> Verdict | tuple[str, str]:
    """The verdict, or class and message of the refusal; anything else that is raised is a bug and goes through."""
    try:
        return judged(Gate(max_bytes), image, piece=piece)
    except (errors.FormatRejected, errors.TooLarge) as refusal:
        return type(refusal).__name__, str(refusal)


def refusal(image: bytes, *, max_bytes: int = TIB) -> str:
    """`Class: message` of the refusal."""
    found = outcome(image, max_bytes=max_bytes)
    assert isinstance(found, tuple), f"accepted: {found}"
    return ": ".join(found)
