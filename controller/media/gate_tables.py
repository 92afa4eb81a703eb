"""Two-level tables of pointers, read while the stream goes by: what do they name, and is the file long enough for it?

qcow2 (L1 -> L2 -> cluster) and sparse VMDK (grain directory -> grain table -> grain) both work like that. A table that
lies in front of the one that names it has gone by already; the rule is about offsets alone, so that the verdict does
not depend on how the bytes are cut. Looking stops at MAX_SECOND_LEVEL_BYTES: it finds cuts, it is not an audit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

MAX_FIRST_LEVEL_BYTES = 2**18
"""Of a first table, so much is looked at: a qcow2 of 16 TiB at the usual cluster size, a VMDK of 2 TiB."""
MAX_SECOND_LEVEL_BYTES = 2**26
"""Of second tables together: 512 GiB of qcow2. An entry costs 50 ns or so; more would be a way to keep a CPU busy."""


@dataclass(slots=True)
class _Window:
    start: int
    length: int
    data: bytearray = field(default_factory=bytearray)

    def take(self, position: int, data: memoryview) -> bool:
        """Take what of `data`, which lies at `position`, falls inside; return whether it is whole."""
        begin = self.start + len(self.data) - position
        self.data += data[begin : begin + self.length - len(self.data)]
        return len(self.data) == self.length


class TableWatch:
    """`feed` every byte from position 0 on; then `must_reach` says how long the file has to be.

    `pointers` returns the offsets of second tables that a first table names (and refuses what must not stand there);
    `reach` returns the offset behind the last thing that a second table names, 0 for none.
    """

    def __init__(
        self,
        start: int,
        length: int,
        *,
        pointers: Callable[[bytes], list[int]],
        second_bytes: int,
        reach: Callable[[bytes], int],
    ) -> None:
        self.must_reach = start + length
        self._window: _Window | None = _Window(start, min(length, MAX_FIRST_LEVEL_BYTES))
        self._in_first = True
        self._waiting: list[int] = []
        """Offsets of second tables that are still to come, the last one first."""
        self._pointers = pointers
        self._second_bytes = second_bytes
        self._reach = reach

    def feed(self, position: int, data: memoryview) -> None:
        """Take the bytes at `position`; they come in order, without gaps. Raises what `pointers` raises."""
        end = position + len(data)
        while self._window is not None and self._window.start < end:
            if not self._window.take(position, data):
                return
            table = bytes(self._window.data)
            if self._in_first:
                self._in_first = False
                self._plan(table, free=self._window.start + len(table))
            else:
                self.must_reach = max(self.must_reach, self._reach(table))
            self._window = _Window(self._waiting.pop(), self._second_bytes) if self._waiting else None

    def _plan(self, first_table: bytes, free: int) -> None:
        budget = MAX_SECOND_LEVEL_BYTES
        for offset in sorted(self._pointers(first_table)):
            self.must_reach = max(self.must_reach, offset + self._second_bytes)
            if offset >= free and budget >= self._second_bytes:
                self._waiting.append(offset)
                free = offset + self._second_bytes
                budget -= self._second_bytes
        self._waiting.reverse()
