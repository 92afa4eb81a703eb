"""Sizes and durations: what is written is what is meant, or refused."""

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller import errors
from controller.model import quantity


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        (0, 0),
        ("0", 0),
        (123, 123),
        ("1Ki", 1024),
        ("1k", 1000),
        ("10Gi", 10 * 2**30),
        ("1.5G", 1_500_000_000),
        ("1.5Gi", 3 * 2**29),
        ("0.5Ki", 512),
        ("7E", 7 * 10**18),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_sizes_are_read(text: str | int, size_bytes: int) -> None:
    assert quantity.parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1 Gi", "-1", -1, "+1", "1KB", "1gi", "1e3", ".5Gi", "1.Gi", "1.5", "1.3Ki", "8Ei", "9" * 5000,
     "9223372036854775808", True, "\uff11", "1\n"],
)  # fmt: skip
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(errors.InvalidSpec, match="a size is"):
        quantity.parse_bytes(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0"),
        (512, "512"),
        (1024, "1Ki"),
        (1536, "1.5Ki"),
        (293641216, "280Mi"),
        (8589934592, "8Gi"),
        (2**20 - 1, "1024Ki"),
        (1001 * 2**30, "1001Gi"),
        (2**62, "4Ei"),
    ],
)
def test_sizes_are_written_with_three_digits(size_bytes: int, text: str) -> None:
    assert quantity.format_bytes(size_bytes) == text


@example(1_048_051_712)  # 999.5 Mi
@given(st.integers(0, quantity.MAX_BYTES))
def test_a_written_size_is_within_half_a_percent(size_bytes: int) -> None:
    text = quantity.format_bytes(size_bytes)
    number = float(text.rstrip("KMGTPEi"))
    unit = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
    written = number * unit[text.lstrip("0123456789.")]
    assert abs(written - size_bytes) <= 0.0051 * size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5s", 1.5), ("0s", 0), ("1h1m1s", 3661), ("90m", 5400)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert quantity.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "1 m",
        "1m1h",
        "-1s",
        "1ms",
        "1d",
        ".5s",
        "1.5m",
        "1s\n",
        "\uff11s",
        "9" * 20 + "h",
        "9" * 5000 + "m",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="a duration is"):
        quantity.parse_duration(text)


@given(st.integers(0, 10**7).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_written_duration_reads_back(value: timedelta) -> None:
    assert quantity.parse_duration(quantity.format_duration(value)) == value


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5, "5s"), (60, "1m"), (3600, "1h"), (5400, "1h30m"), (90.5, "1m30.5s")]
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert quantity.format_duration(timedelta(seconds=seconds)) == text
