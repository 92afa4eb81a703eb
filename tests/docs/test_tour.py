"""The README's transcripts are real: each command is run, each answer compared."""

import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import images

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- (tour[^>]*) -->\n```console\n(.*?)```", re.DOTALL)
# What differs from run to run and from house to house: digests, ages and sizes, the checkout's place.
VARIABLE = (
    (re.compile(r"\b[0-9a-f]{32,64}\b"), "HEX"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\(\d+ bytes\)"), "(N bytes)"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:s|Mi|Ki)\b"), "N"),
    (re.compile(r"file:///\S+/(\.demo|care)/"), r"file://HERE/\1/"),
    (re.compile(r" +"), " "),
    (re.compile(r" +$", re.MULTILINE), ""),
)


def steps(text: str) -> list[tuple[str, str]]:
    """Return (command, expected output) of a console block; `> ` continues a command."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") or line == ">":
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(output)) for command, output in found]


def normal(text: str) -> str:
    for pattern, instead in VARIABLE:
        text = pattern.sub(instead, text)
    return text.strip()


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
    bash = shutil.which("bash")
    assert bash is not None
    blocks = [block for of, block in BLOCK.findall((ROOT / "README.md").read_text()) if of == name]
    assert len(blocks) == count
    wanted = [step for block in blocks for step in steps(block)]
    mark = "--end-of-answer--"
    script = "".join(f"{command}\nstatus=$?; echo {mark}; (exit $status)\n" for command, _ in wanted)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [bash], input=script, cwd=checkout, env=environment, text=True, capture_output=True, timeout=280, check=False
    )
    answers = done.stdout.split(f"{mark}\n")
    assert len(answers) == len(wanted) + 1, done.stderr
    for (command, expected), answer in zip(wanted, answers, strict=False):
        assert normal(answer) == normal(expected), f"after: {command}\n{answer}\n{done.stderr}"
