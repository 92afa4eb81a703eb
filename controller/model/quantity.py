"""Sizes and durations as manifests write them: Kubernetes quantities and Go-style durations."""

import functools
import re
from datetime import timedelta
from decimal import Decimal

from controller import errors

_SUFFIX = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?\Z", re.ASCII)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?\Z", re.ASCII)
MAX_BYTES = 2**63 - 1
"""The largest size any field holds: int64, as in the Kubernetes API."""


def parse_bytes(value: str | int) -> int:
    """Read a size in bytes: a plain integer or a quantity such as `10Gi` or `1.5G`.

    Raises:
        InvalidSpec: not a quantity, not a whole number of bytes, negative, or above int64.

    """
    match = _QUANTITY.match(str(value))
    if match is None or isinstance(value, bool):
        raise errors.InvalidSpec(
            f"a size is a number of bytes with an optional suffix (Ki Mi Gi Ti k M G T), got {str(value)[:40]!r}"
        )
    size = Decimal(match[1]) * _SUFFIX[match[2] or ""]
    if size != int(size):
        raise errors.InvalidSpec(f"a size is a whole number of bytes, got {value!r}")
    if size > MAX_BYTES:
        raise errors.InvalidSpec(f"a size is at most {MAX_BYTES} bytes, got {value!r}")
    return int(size)


def format_bytes(size_bytes: int) -> str:
    """Write a size for people, three significant digits: `8Gi`, `280Mi`, `512`."""
    for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
        unit = _SUFFIX[suffix]
        if size_bytes >= unit:
            return (
                f"{size_bytes / unit:.3g}{suffix}"
                if 2 * size_bytes < 1999 * unit  # 999.5 would be written 1e+03
                else f"{round(size_bytes / unit)}{suffix}"
            )
    return str(size_bytes)


@functools.lru_cache(maxsize=256)  # thousands of manifests repeat the same few
def parse_duration(value: str) -> timedelta:
    """Read a duration such as `10s`, `1h30m`; hours, minutes and seconds in that order, seconds may have a fraction.

    Raises:
        InvalidSpec: anything else, an empty string included.

    """
    match = _DURATION.match(value)
    if match is None or not value:
        raise errors.InvalidSpec(f"a duration is written like 90s, 10m or 1h30m, got {value[:40]!r}")
    try:
        return timedelta(hours=int(match[1] or 0), minutes=int(match[2] or 0), seconds=float(match[3] or 0))
    except (OverflowError, ValueError) as exc:  # ValueError: more digits than int() takes
        raise errors.InvalidSpec(f"a duration is at most a few million years, got {value[:40]!r}") from exc


def format_duration(value: timedelta) -> str:
    """Write a duration as `parse_duration` reads it: `1h30m`, `10s`."""
    seconds = value.total_seconds()
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    text = f"{int(hours)}h" * bool(hours) + f"{int(minutes)}m" * bool(minutes)
    return text + (f"{seconds:g}s" if seconds or not text else "")
