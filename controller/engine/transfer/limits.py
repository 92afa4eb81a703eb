"""How a transfer is paced. Constants with reasons; tests make them small."""

from dataclasses import dataclass

PAGE = 4096
"""Bytes; what O_DIRECT wants offsets and lengths to be a multiple of."""


@dataclass(frozen=True, slots=True)
class PassLimits:
    """Sizes in bytes, times in seconds."""

    buffer_bytes: int = 2**21
    """One buffer of a ring, a multiple of PAGE."""
    buffers: int = 8
    """Buffers of a ring: what the fastest consumer may be ahead of the slowest. 8 x 2 MiB: half of it made a busy disk
    stall the hashing more often; four transfers at once stay below 125 MiB, all told."""
    slice_bytes: int = 2**18
    """What is asked of a source at a time; the most that a broken connection costs beyond what it delivered."""
    checkpoint_bytes: int = 2**28
    """Synced and recorded at least this often; also bounds the dirty memory where writes go through the page cache."""
    checkpoint_s: float = 5.0
    """Synced and recorded at least this often while bytes come: what kill -9 costs on a slow line."""
    replay_while_open_bytes: int = 2**28
    """A longer replay drops the connection and asks again afterwards: servers do not wait for ever."""
    expand_grace_s: float = 60.0
    """Seconds of decompression that are always granted."""
    expand_floor_bytes_per_s: int = 2**20
    """Decompression slower than this, bytes in plus out, is an attack; bzip2, the slowest, does 20 times that."""
