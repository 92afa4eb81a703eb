"""Small images built from the format specifications, and the bytes that only look like images.

Every builder returns the whole file. `patched` changes bytes by offset, which is how a test makes a good image bad.
The images with a filesystem in them, and those of other tools, are made by qemu-img in the integration tests.
"""

import random
import struct
from collections.abc import Mapping

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
SECTOR = 512


def patched(image: bytes, *patches: tuple[int, bytes]) -> bytes:
    """The image with each `(offset, bytes)` written over it; a patch beyond the end extends it with zeros."""
    data = bytearray(image)
    for offset, new in patches:
        if len(data) < offset + len(new):
            data.extend(bytes(offset + len(new) - len(data)))
        data[offset : offset + len(new)] = new
    return bytes(data)


def raw(size: int = 64 * KIB, *, seed: int = 1, partitioned: bool = True) -> bytes:
    """A disk with an MBR and one Linux partition, the rest noise; `partitioned=False`: noise from the first byte on."""
    noise = random.Random(seed).randbytes(size)
    return patched(noise[:size], (0, mbr())) if partitioned else noise


def mbr() -> bytes:
    """One boot sector: no boot code, one active Linux partition from sector 1 on."""
    entry = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", 1, 127)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def qcow2(
    virtual_size: int = 10 * MIB,
    *,
    payload: bytes = b"",
    version: int = 3,
    cluster_bits: int = 16,
    extensions: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """What `qemu-img create` makes: header, refcount table and block, L1; then L2 tables and data, for the `payload`.

    The payload stands at guest offset 0. One refcount block must do: a few thousand clusters.
    """
    cluster = 1 << cluster_bits
    covered = cluster * cluster // 8
    l1_entries = -(-virtual_size // covered)
    l1_clusters = max(1, -(-l1_entries * 8 // cluster))
    data_clusters = -(-len(payload) // cluster)
    l2_tables = -(-len(payload) // covered)
    first_l2 = 3 + l1_clusters
    first_data = first_l2 + l2_tables
    used = first_data + data_clusters
    if used > cluster // 2:
        raise ValueError("this builder knows one refcount block")
    copied = 1 << 63
    l1 = [(first_l2 + table) * cluster | copied for table in range(l2_tables)]
    l2 = [(first_data + number) * cluster | copied for number in range(data_clusters)]
    parts = [
        _qcow2_header(virtual_size, version, cluster_bits, l1_entries, extensions).ljust(cluster, b"\0"),
        struct.pack(">Q", 2 * cluster).ljust(cluster, b"\0"),
        struct.pack(f">{used}H", *[1] * used).ljust(cluster, b"\0"),
        struct.pack(f">{len(l1)}Q", *l1).ljust(l1_clusters * cluster, b"\0"),
        struct.pack(f">{len(l2)}Q", *l2).ljust(l2_tables * cluster, b"\0"),
        payload.ljust(data_clusters * cluster, b"\0"),
    ]
    return b"".join(parts)


def _qcow2_header(
    virtual_size: int, version: int, cluster_bits: int, l1_entries: int, extensions: tuple[tuple[int, bytes], ...]
) -> bytes:
    cluster = 1 << cluster_bits
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, cluster_bits, virtual_size, 0, l1_entries,
                         3 * cluster, cluster, 1, 0, 0)  # fmt: skip
    if version == 3:
        header += struct.pack(">QQQIIB7x", 0, 0, 0, 4, 112, 0)
    for kind, body in extensions:
        header += struct.pack(">II", kind, len(body)) + body.ljust(-(-len(body) // 8) * 8, b"\0")
    return header + bytes(8)


DESCRIPTOR = """\
# Disk DescriptorFile
version=1
CID=a7bb2a3e
parentCID=ffffffff
createType="{create_type}"

# Extent description
RW {sectors} SPARSE "golden.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "20"
ddb.geometry.heads = "16"
ddb.geometry.sectors = "63"
ddb.adapterType = "ide"
"""


def vmdk_descriptor(virtual_size: int = 10 * MIB, *, create_type: str = "monolithicSparse") -> str:
    """The text in a sparse VMDK; on its own it is the text descriptor that must never be accepted."""
    return DESCRIPTOR.format(create_type=create_type, sectors=virtual_size // SECTOR)


def vmdk_sparse(
    virtual_size: int = 10 * MIB,
    *,
    payload: bytes = b"",
    descriptor: str | bytes | None = None,
    fields: Mapping[str, int] | None = None,
) -> bytes:
    """A monolithicSparse VMDK with 64 KiB grains as `qemu-img` lays it out; the payload stands at guest offset 0.

    `fields` replaces header fields by name, see VMDK_HEADER.
    """
    tables = -(-virtual_size // (512 * 128 * SECTOR))
    directory_sectors = -(-tables * 4 // SECTOR)
    directory = 21 + directory_sectors + tables * 4
    first_table = directory + directory_sectors
    overhead = -(-(first_table + tables * 4) // 128) * 128
    grains = -(-len(payload) // (128 * SECTOR))
    header = vmdk_header(capacity=virtual_size // SECTOR, rgd_offset=21, gd_offset=directory, overhead=overhead)
    copies = [(21, 21 + directory_sectors), (directory, first_table)]
    patches = [(0, header), (SECTOR, _descriptor_bytes(descriptor, virtual_size, "monolithicSparse"))]
    for where, first in copies:
        patches.append((where * SECTOR, struct.pack(f"<{tables}I", *(first + 4 * table for table in range(tables)))))
        patches.append((first * SECTOR, struct.pack(f"<{grains}I", *(overhead + 128 * n for n in range(grains)))))
    image = patched(bytes(overhead * SECTOR), *patches) + payload.ljust(grains * 128 * SECTOR, b"\0")
    return patched(image, (0, vmdk_header(**{**_vmdk_fields(header), **(fields or {})})))


def vmdk_stream(
    virtual_size: int = 10 * MIB, *, descriptor: str | bytes | None = None, footer: Mapping[str, int] | None = None
) -> bytes:
    """An empty streamOptimized VMDK as VMware exports it: the grain directory is named by the footer at the end."""
    tables = -(-virtual_size // (512 * 128 * SECTOR))
    fields = {
        "version": 3, "flags": 0x30001, "capacity": virtual_size // SECTOR, "overhead": 128, "compression": 1
    }  # fmt: skip
    directory = 129
    directory_sectors = -(-tables * 4 // SECTOR)
    at_end = vmdk_header(**{**fields, "gd_offset": directory, **(footer or {})})
    head = vmdk_header(**fields, gd_offset=2**64 - 1)
    text = _descriptor_bytes(descriptor, virtual_size, "streamOptimized")
    return b"".join(
        [
            (head + text).ljust(128 * SECTOR, b"\0"),
            _vmdk_marker(directory_sectors, 2),
            bytes(directory_sectors * SECTOR),
            _vmdk_marker(1, 3),
            at_end,
            _vmdk_marker(0, 0),
        ]
    )


VMDK_HEADER = (
    "magic", "version", "flags", "capacity", "grain", "descriptor_offset", "descriptor_size", "gtes", "rgd_offset",
    "gd_offset", "overhead", "unclean", "newlines", "compression",
)  # fmt: skip
_VMDK_LAYOUT = "<4sIIQQQQIQQQB4sH"


def vmdk_header(**fields: int | bytes) -> bytes:
    """One 512-byte sparse extent header; every field of VMDK_HEADER may be given, `capacity` in sectors."""
    values: dict[str, int | bytes] = {
        "magic": b"KDMV", "version": 1, "flags": 3, "capacity": 20480, "grain": 128, "descriptor_offset": 1,
        "descriptor_size": 20, "gtes": 512, "rgd_offset": 0, "gd_offset": 0, "overhead": 128, "unclean": 0,
        "newlines": b"\n \r\n", "compression": 0,
    }  # fmt: skip
    values.update(fields)
    return struct.pack(_VMDK_LAYOUT, *(values[name] for name in VMDK_HEADER)).ljust(SECTOR, b"\0")


def _vmdk_fields(header: bytes) -> dict[str, int | bytes]:
    return dict(zip(VMDK_HEADER, struct.unpack_from(_VMDK_LAYOUT, header), strict=True))


def _vmdk_marker(value: int, kind: int) -> bytes:
    return struct.pack("<QII", value, 0, kind).ljust(SECTOR, b"\0")


def _descriptor_bytes(descriptor: str | bytes | None, virtual_size: int, create_type: str) -> bytes:
    if descriptor is None:
        descriptor = vmdk_descriptor(virtual_size, create_type=create_type)
    return descriptor.encode() if isinstance(descriptor, str) else descriptor


def iso(size: int = 64 * KIB, *, hybrid: bool = False, label: str = "GOLDEN") -> bytes:
    """An empty ISO 9660 volume of 2 KiB blocks; `hybrid`: with an MBR, as on a stick. Sizes are multiples of 2 KiB."""
    both = struct.Struct("<I").pack(size // 2048) + struct.pack(">I", size // 2048)
    root = struct.pack("<BBII", 34, 0, 19, 0)[:6] + struct.pack(">I", 19) + struct.pack("<I", 2048)
    root += struct.pack(">I", 2048) + bytes(7) + b"\x02" + bytes(2) + b"\1\0\0\1" + b"\1\0"
    volume = bytearray(2048)
    volume[:8] = b"\x01CD001\x01\0"
    volume[8:72] = b" " * 32 + label.encode().ljust(32)
    volume[80:88] = both
    volume[120:132] = b"\1\0\0\1" * 2 + b"\0\x08\x08\0"
    volume[156 : 156 + len(root)] = root
    volume[881] = 1
    terminator = b"\xffCD001\x01".ljust(2048, b"\0")
    image = patched(bytes(size), (32 * KIB, bytes(volume)), (34 * KIB, terminator))
    return patched(image, (0, mbr())) if hybrid else image


def vhd_fixed(size: int = 64 * KIB) -> bytes:
    """A fixed VHD: a raw disk and a footer in the last 512 bytes."""
    footer = struct.pack(">8sIIQI4sI4sQQ", b"conectix", 2, 0x10000, 2**64 - 1, 0, b"win ", 0xA0000, b"Wi2k", size, size)
    footer += bytes(4) + struct.pack(">I", 2)
    checksum = ~sum(footer) & 0xFFFFFFFF
    return raw(size) + (footer + struct.pack(">I", checksum)).ljust(SECTOR, b"\0")


FOREIGN: dict[str, bytes] = {
    "qcow1": b"QFI\xfb\0\0\0\1",
    "qed": b"QED\0",
    "vhdx": b"vhdxfile",
    "vhd": b"conectix",
    "vmdk of ESX": b"COWD\1\0\0\0",
    "vdi": b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe",
    "luks1": b"LUKS\xba\xbe\0\1",
    "luks2": b"LUKS\xba\xbe\0\2",
    "parallels": b"WithoutFreeSpace",
    "parallels 2": b"WithouFreSpacExt",
    "bochs": b"Bochs Virtual HD Image\0",
    "cloop": b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n\0",
    "gzip": b"\x1f\x8b\x08\0",
    "xz": b"\xfd7zXZ\0",
    "bzip2": b"BZh91AY&SY",
    "zstd": b"\x28\xb5\x2f\xfd",
    "lz4": b"\x04\x22\x4d\x18",
    "lzip": b"LZIP\1",
    "zip": b"PK\3\4",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "rar": b"Rar!\x1a\x07",
    "cpio": b"070701",
    "ar": b"!<arch>\n",
    "rpm": b"\xed\xab\xee\xdb",
    "tar": b"disk.raw".ljust(257, b"\0") + b"ustar\x0000",
    "gnu tar": b"disk.raw".ljust(257, b"\0") + b"ustar  \0",
    "elf": b"\x7fELF\2\1\1",
    "pdf": b"%PDF-1.7\n",
}
"""First bytes of what is not an image we take, by what it is."""


def foreign(name: str, size: int = 64 * KIB) -> bytes:
    """A file that begins like FOREIGN[name], noise behind it."""
    return patched(raw(size, partitioned=False), (0, FOREIGN[name]))


PAGES: dict[str, bytes] = {
    "html": b"<!DOCTYPE html>\n<html><head><title>Please log in</title></head><body>" + b"<p>404</p>" * 80 + b"</html>",
    "html without doctype": b"\r\n  <html>" + b"x" * 600,
    "s3 error": b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code>' + b"<!-- -->" * 80 + b"</Error>",
    "json": b'{"error": "not found", "detail": "' + b"x" * 600 + b'"}',
    "utf-8": "\ufeffBilder liegen jetzt woanders: größer, schöner. ".encode() * 20,
    "not ascii at byte 600": b"readme " * 85 + b"caf\xc3\xa9" + b"\0" * 100,
    "git lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 12345\n",
}
"""What servers send instead of an image."""
