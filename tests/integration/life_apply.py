"""A process that runs `goldmaster apply` in children of its own and kills them: no child has to import anything.

One line of JSON per order on standard input: the arguments, and after how many lines on standard error it is killed.
One line is the answer: how many lines there were.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from controller import wiring
from controller.cli import apply, main

PRELOADED = (apply, wiring)
"""What a child finds imported."""


def _run(arguments: Sequence[str], lines: int) -> int:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.dup2(writing, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os._exit(main.run(list(arguments)))
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        heard = 0
        while heard < lines and said.readline():
            heard += 1
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return heard


def _serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(f"{_run(order['arguments'], order['lines'])}\n")
        sys.stdout.flush()


class Killer:
    """The other end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def apply(self, arguments: Sequence[str], lines: int) -> None:
        """Run `goldmaster` and kill it once it said so many lines, or ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": arguments, "lines": lines}) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline(), "the killer was killed"


@contextmanager
def killing() -> Iterator[Killer]:
    """Have one, until the end of the block."""
    command = [sys.executable, "-m", "tests.integration.life_apply"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Killer(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


if __name__ == "__main__":
    _serve()
