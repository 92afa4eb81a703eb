"""zstd one block at a time, so that no call makes more output than one block has (RFC 8878, 3.1.1).

The binding's own streaming object expands all of its input at once, and 4 bytes can be 128 KiB: a 128 KiB slice of a
bomb would be 4 GiB. So the frame is measured here, and libzstd, which checks everything, gets it in single blocks.
"""

import zstandard

MAX_BLOCK_BYTES = 2**17
"""What one block may expand to."""
_MAGIC = b"\x28\xb5\x2f\xfd"
_RLE = 1
_FIELD_BYTES = {0: 0, 1: 2, 2: 4, 3: 8}


class Damaged(Exception):
    """Not a zstd frame, or a damaged one."""


class Frame:
    """One frame, or one skippable frame; the interface of `bz2.BZ2Decompressor`.

    `max_length` is not needed: output comes in pieces of at most MAX_BLOCK_BYTES.
    """

    def __init__(self, window_log: int) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=1 << window_log).decompressobj()
        self._rest = memoryview(b"")
        self._begun = False
        self._skippable = False
        self._checksummed = False
        self._blocks_ended = False
        self._unit_bytes = 0
        """What is still to come of the current unit: frame header, block with its header, checksum, skippable frame."""
        self._unit_is_last = False
        self.eof = False
        self.needs_input = True

    @property
    def unused_data(self) -> bytes:
        """What of the input is behind the end."""
        return bytes(self._rest)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take input; return the output of at most one block. Raises Damaged."""
        if data:
            self._rest = memoryview(bytes(self._rest) + data)
        while not self.eof:
            if not self._unit_bytes and not self._measure():
                break
            if not self._rest:
                break
            piece = self._take()
            if piece:
                self.needs_input = False
                return piece
        self.needs_input = True
        return b""

    def _take(self) -> bytes:
        unit, self._rest = self._rest[: self._unit_bytes], self._rest[self._unit_bytes :]
        self._unit_bytes -= len(unit)
        self.eof = self._unit_is_last and not self._unit_bytes
        if self._skippable:
            return b""
        try:
            return self._decoder.decompress(unit)
        except zstandard.ZstdError as exc:
            raise Damaged(str(exc)) from exc

    def _measure(self) -> bool:
        """Learn how long the next unit is; False while too little of it is there."""
        if not self._begun:
            return self._measure_header()
        if self._blocks_ended:
            self._unit_bytes, self._unit_is_last = 4, True
            return True
        if len(self._rest) < 3:
            return False
        header = int.from_bytes(self._rest[:3], "little")
        self._unit_bytes = 3 + (1 if header >> 1 & 3 == _RLE else header >> 3)
        self._blocks_ended = bool(header & 1)
        self._unit_is_last = self._blocks_ended and not self._checksummed
        return True

    def _measure_header(self) -> bool:
        start = bytes(self._rest[:8])
        if len(start) < 5:
            return False
        if start[1:4] == b"\x2a\x4d\x18" and start[0] >> 4 == 5:
            if len(start) < 8:
                return False
            self._unit_bytes = 8 + int.from_bytes(start[4:], "little")
            self._unit_is_last = self._skippable = True
        elif start.startswith(_MAGIC):
            descriptor = start[4]
            single_segment = descriptor >> 5 & 1
            size_bytes = _FIELD_BYTES[descriptor >> 6] or single_segment
            dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
            self._unit_bytes = 5 + (1 - single_segment) + dictionary_bytes + size_bytes
            self._checksummed = bool(descriptor & 4)
        else:
            raise Damaged("no zstd frame begins here")
        self._begun = True
        return True
