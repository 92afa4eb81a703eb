r"""The text inside a sparse VMDK: every line must be one that is known to be harmless.

qemu-img looks for `createType` and `parentFileNameHint` with strstr, so the first occurrence anywhere counts, comments
and values included; VMware's own tools compare without case. So each of these words stands exactly once or never,
whatever its case, and only in its own line.
"""

import re
from dataclasses import dataclass

from controller.errors import FormatRejected

_TEXT = re.compile(r"(?:[\t -~]|\r?\n)*\Z", re.ASCII)
_FIRST_LINE = "# Disk DescriptorFile"
_EXTENT = re.compile(r'(?:RW|RDONLY) ([1-9][0-9]{0,18}) SPARSE "[^"/\\:]{1,255}"', re.ASCII)
_LINES = {
    "version": re.compile(r"version=[1-4]"),
    "encoding": re.compile(r'encoding="[A-Za-z0-9_-]{1,40}"'),
    "cid": re.compile(r"CID=[0-9A-Fa-f]{1,8}"),
    "parentcid": re.compile(r"parentCID=ffffffff", re.IGNORECASE),
    "isnativesnapshot": re.compile(r'isNativeSnapshot="no"'),
    "createtype": re.compile(r'createType="(?:monolithicSparse|streamOptimized)"'),
}
"""Every key but `ddb.…`, in lower case, and the only forms of its line."""
_REQUIRED = ("version", "cid", "parentcid", "createtype")
_DISK_DATABASE = re.compile(r'ddb\.[A-Za-z0-9._-]+ *= *"[^"]*"')
_ONCE = {"createtype": 1, "parentcid": 1, "parentfilenamehint": 0}
_CID_DIGITS = 8
"""qemu-img writes its descriptor once more with another random CID, without leading zeros: N digits fewer move the text
up by N, and the last N - 1 bytes of the longer one stay behind the new end. One image in 256 has some."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a harmless descriptor says."""

    stream_optimized: bool
    extent_sectors: int


def parse(area: bytes) -> Descriptor:
    """Read the descriptor's sectors up to the first NUL byte. Raises FormatRejected."""
    text = _text(area)
    for word, allowed in _ONCE.items():
        if (found := text.lower().count(word)) != allowed:
            raise FormatRejected(f"vmdk descriptor has the word {word!r} {found} times, not {allowed}")
    lines = [line.rstrip("\r").strip(" \t") for line in text.split("\n")]
    if lines[0] != _FIRST_LINE:
        raise FormatRejected(f"vmdk descriptor does not begin with {_FIRST_LINE!r}")
    seen: list[str] = []
    extents: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#") or _DISK_DATABASE.fullmatch(line):
            continue
        if extent := _EXTENT.fullmatch(line):
            extents.append(int(extent[1]))
            continue
        key = line.partition("=")[0].lower()
        if key not in _LINES or not _LINES[key].fullmatch(line):
            raise FormatRejected(f"vmdk descriptor line {number} is not allowed: {line[:80]!r}")
        seen.append(key)
    if len(extents) != 1:
        raise FormatRejected(f"vmdk descriptor has {len(extents)} extents, not 1")
    for key in _REQUIRED:
        if seen.count(key) != 1:
            raise FormatRejected(f"vmdk descriptor has {seen.count(key)} lines {key}=, not 1")
    return Descriptor('"streamOptimized"' in text, extents[0])


def _text(area: bytes) -> str:
    text, _, rest = area.partition(b"\0")
    left = rest.rstrip(b"\0")
    if left and not (len(left) <= _CID_DIGITS - 1 and text.endswith(left)):
        raise FormatRejected("vmdk descriptor goes on behind a NUL byte")
    try:
        decoded = text.decode("ascii")
    except UnicodeDecodeError as exc:
        raise FormatRejected(f"vmdk descriptor has a byte that is not ASCII (offset {512 + exc.start})") from exc
    if not _TEXT.match(decoded):
        raise FormatRejected("vmdk descriptor has a control character")
    return decoded
