"""Whoever looks a reason up finds it, in both papers, once, with something to do."""

import re
from pathlib import Path

import pytest

from controller.reasons import Reason

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("paper", "heading"), [("manifests/README.md", "### By reason"), ("crds/README.md", "## Reasons")]
)
def test_every_reason_is_explained(paper: str, heading: str) -> None:
    section = re.split(r"^#+ ", (ROOT / paper).read_text().split(f"\n{heading}\n")[1], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(reason.value for reason in Reason)
