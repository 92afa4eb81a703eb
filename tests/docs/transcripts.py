"""Transcripts in papers: a marked console block is run by a real shell, and each answer compared.

Blocks of one paper with the same mark, `<!-- tour: NAME -->` on the line before them, are one session of one shell.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- (tour[^>]*) -->\n```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
HERE = "/srv/goldmaster"
"""What a transcript calls the directory in which its commands run."""
MARK = "--end-of-answer--"
LIMIT_S = 240
# What differs from run to run and from house to house: digests, times, ages, nginx's ETags, ports, free room.
VARIABLE = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"), "TIME"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "HEX"),
    (re.compile(r"\b\d+(?:\.\d+)?[smhd](?:\d+[smh])?\b"), "AGE"),
    (re.compile(r"\b\d{9,}\b"), "NUMBER"),
    (re.compile(r'"[0-9a-f]{8}-[0-9a-f]+"'), '"ETAG"'),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r" +"), " "),
    (re.compile(r" +$", re.MULTILINE), ""),
)
# A person on a terminal sees no log lines of `apply` and the others; `run`, in the background, has nothing else to say.
MESSAGES = """exec 2>&1
goldmaster() {
    [ "$1" = run ] && exec goldmaster "$@"
    command goldmaster "$@" 2>log; local code=$?; sed /^{/d log >&2; return $code
}
"""


def blocks(paper: str) -> dict[str, list[str]]:
    """Return the marked console blocks of a paper, by their marks."""
    found: dict[str, list[str]] = {}
    for mark, block in BLOCK.findall((ROOT / paper).read_text()):
        found.setdefault(mark, []).append(block)
    return found


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


def answers(commands: list[str], folder: Path, environment: Mapping[str, str], *, messages: bool) -> list[str]:
    """Run the commands in one bash in `folder`; return what each said, with what went to standard error if `messages`.

    Raises AssertionError with the shell's own words where it ended before the last command.
    """
    bash = shutil.which("bash")
    assert bash is not None
    script = "".join(f"{command}\nstatus=$?; echo {MARK}; (exit $status)\n" for command in commands)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = subprocess.Popen(
        [bash],
        cwd=folder,
        env={**os.environ, **environment, "PATH": path, "PYTHONPATH": str(ROOT)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = shell.communicate(MESSAGES * messages + script, timeout=LIMIT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)  # what it left in the background, too
        shell.wait()
    said = out.replace(str(folder), HERE).split(f"{MARK}\n")
    assert len(said) == len(commands) + 1, out + err
    return said[:-1]
