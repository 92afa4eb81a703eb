"""The README's transcripts are real: each command is run, each answer compared."""

import lzma
import re
from pathlib import Path

import pytest

from tests.docs import transcripts
from tests.fakes import images

# The images of the demo are other ones here, and so are their sizes.
SIZE = re.compile(r"\(\d+ bytes\)|\b\d+(?:\.\d+)?(?:Mi|Ki)\b")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A directory that looks as `make demo` leaves a checkout, as far as the tour needs it."""
    (tmp_path / ".demo" / "images").mkdir(parents=True)
    (tmp_path / ".demo" / "images" / "ipxe.iso").write_bytes(images.iso(2 << 20))
    (tmp_path / ".demo" / "images" / "memtest86.iso.xz").write_bytes(lzma.compress(images.iso(3 << 20)))
    return tmp_path


@pytest.mark.timeout(300)  # some thirty processes; only a bound on hanging
@pytest.mark.parametrize(("name", "count"), [("tour", 5), ("tour: care", 4)])
def test_a_transcript_is_what_a_reader_gets(checkout: Path, name: str, count: int) -> None:
    blocks = transcripts.blocks("README.md")[name]
    assert len(blocks) == count
    wanted = [step for block in blocks for step in transcripts.steps(block)]
    said = transcripts.answers([command for command, _ in wanted], checkout, {}, messages=False)
    for (command, expected), answer in zip(wanted, said, strict=True):
        assert normal(answer) == normal(expected), f"after: {command}\n{answer}"


def normal(text: str) -> str:
    return SIZE.sub("SIZE", transcripts.normal(text))
