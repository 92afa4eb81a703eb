"""What the gate says of an image that may pass."""

from dataclasses import dataclass

from controller.model.image import Format

MAX_VIRTUAL_BYTES = 16 << 40
"""No guest disk is larger, whatever maxSize allows: 16 TiB is what ext4 and most hypervisors take."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`virtual_size_bytes` is what a guest sees."""

    format: Format
    virtual_size_bytes: int
