"""What may be at the beginning or the end of bytes that are not qcow2 or VMDK: a disk, an ISO, or something else.

Raw is what is left when nothing is recognised, so everything that anybody would recognise is named here: the formats
that qemu-img probes, archives, compressed data, and the pages that servers send instead of an image.
"""

import re
import struct

from controller.errors import FormatRejected

ISO = "iso"
ISO_OFFSET = 16 * 2048
ISO_MARK = (ISO_OFFSET + 1, b"CD001", ISO)
MARKS = (
    (0, b"QED\0", "QED"),
    (0, b"COWD", "VMDK of ESX (COWD)"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"conectix", "VHD"),
    (0, b"cxsparse", "VHD"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"WithoutFreeSpace", "Parallels"),
    (0, b"WithouFreSpacExt", "Parallels"),
    (0, b"Bochs Virtual HD Image", "Bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format", "cloop"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"BZh", "bzip2"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"\x5d\0\0", "lzma"),
    (0, b"LZIP", "lzip"),
    (0, b"PK\3\4", "zip"),
    (0, b"PK\5\6", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\7", "RAR"),
    (0, b"MSCF", "cabinet"),
    (0, b"MSWIM\0\0\0", "WIM"),
    (0, b"\xed\xab\xee\xdb", "RPM package"),
    (0, b"!<arch>\n", "ar archive or Debian package"),
    (0, b"070701", "cpio archive"),
    (0, b"070702", "cpio archive"),
    (0, b"070707", "cpio archive"),
    (257, b"ustar", "tar archive or OVA"),
    (0, b"%PDF-", "PDF"),
    (0, b"\x7fELF", "ELF program"),
)
"""(offset, bytes, what it is). All within the first 512 bytes."""
TRAILERS = ((512, b"conectix", "VHD"), (511, b"conectix", "VHD"), (512, b"koly", "DMG"))
"""(bytes before the end, bytes, what it is). Old tools made fixed VHDs with a footer of 511 bytes."""

_TEXT_DESCRIPTOR = re.compile(rb"(?:#[^\n]*\n| *\r?\n)*version=", re.IGNORECASE)
"""What qemu-img takes for a VMDK descriptor, and a little more (vmdk_probe in block/vmdk.c)."""
_CONTROL = bytes(set(range(0x20)) - set(b"\t\n\f\r")) + b"\x7f"
_ASCII = bytes(range(0x20, 0x7F)) + b"\t\n\f\r"
_MIN_TEXT_BYTES = 4


def marks(head: bytes) -> list[tuple[int, str]]:
    """Return (offset, what) of everything in MARKS that `head` has, and of a VMDK text descriptor."""
    found = [(offset, what) for offset, magic, what in MARKS if head.startswith(magic, offset)]
    if _TEXT_DESCRIPTOR.match(head):
        found.append((0, "VMDK text descriptor, which names other files"))
    return found


def has_boot_signature(head: bytes) -> bool:
    """Whether a BIOS, or an inspector, would take the first sector for a master boot record."""
    return head[510:512] == b"\x55\xaa"


def check_text(head: bytes) -> None:
    """Refuse a first sector that is text, NUL bytes behind it or not. Raises FormatRejected."""
    start = head[:512].rstrip(b"\0")
    if len(start) < _MIN_TEXT_BYTES or start.translate(None, _CONTROL) != start:
        return
    mostly_ascii = len(start.translate(None, _ASCII)) < len(start) / 2
    if mostly_ascii or _is_utf8(start):
        shown = start[:60].decode("ascii", "replace")
        raise FormatRejected(f"not an image: the first bytes are text (offset 0): {shown!r}")


def check_tail(tail: bytes) -> None:
    """Refuse a trailer that makes the bytes in front of it something else. Raises FormatRejected."""
    for back, magic, what in TRAILERS:
        if tail[-back:].startswith(magic):
            raise FormatRejected(f"ambiguous: the file ends with a {what} trailer ({back} bytes before its end)")


def iso_volume_bytes(head: bytes) -> int:
    """Return the size that an ISO 9660 primary volume descriptor says (ECMA-119, 8.4). Raises FormatRejected."""
    volume = head[ISO_OFFSET : ISO_OFFSET + 2048]
    if len(volume) < 2048:
        raise FormatRejected(f"iso truncated: its volume descriptor ends at byte {ISO_OFFSET + 2048}")
    if volume[0] != 1 or volume[6] != 1:
        raise FormatRejected(f"iso does not begin with a primary volume descriptor of version 1 (offset {ISO_OFFSET})")
    # the little-endian halves: mastering programs are known to get the big-endian ones wrong
    (blocks,) = struct.unpack_from("<I", volume, 80)
    (block_bytes,) = struct.unpack_from("<H", volume, 128)
    if block_bytes not in {512, 1024, 2048}:
        raise FormatRejected(f"iso block size {block_bytes} (offset {ISO_OFFSET + 128}) is not 512, 1024 or 2048")
    if blocks == 0:
        raise FormatRejected(f"iso volume size (offset {ISO_OFFSET + 80}) is 0")
    return int(blocks) * int(block_bytes)


def _is_utf8(start: bytes) -> bool:
    """Whether it is UTF-8 whose last character may be cut."""
    for cut in range(4):
        try:
            start[: len(start) - cut].decode()
        except UnicodeDecodeError:
            continue
        return True
    return False
