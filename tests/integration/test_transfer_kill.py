"""kill -9 at random moments: never wrong bytes, never a leak, hardly a byte fetched twice."""

import gzip
import hashlib
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.clock import SystemClock
from tests.integration import ranged_server
from tests.integration.ranged_server import Served
from tests.integration.transfer_child import KIB, PACE

SIZE = 2 * 2**20
FULL_S = 0.35
"""About how long a whole transfer takes, at the least."""
COST_OF_A_KILL = PACE.checkpoint_bytes + (PACE.buffers + 2) * PACE.buffer_bytes + 4 * KIB
"""Fetched and not yet promised by a record: one checkpoint, the ring, the buffer being filled, the cut to pages."""


class Children:
    """Transfers in processes of their own; see `transfer_child`."""

    def __init__(self, process: "subprocess.Popen[str]", counter: Path) -> None:
        self._process = process
        self._counter = counter

    def run(self, job: Mapping[str, object], kill_at: tuple[int, float] | None) -> int:
        """Run one transfer, or kill it so many seconds after so many bytes were fetched; return its exit status."""
        before = self.fetched()
        child = int(self._ask(json.dumps(job)).removeprefix("started "))
        if kill_at is not None:
            more_bytes, then_s = kill_at
            pause = threading.Event()
            while self.fetched() - before < more_bytes and not ended(child):
                pause.wait(0.001)
            pause.wait(then_s)
            os.kill(child, signal.SIGKILL)
        return int(self._ask("reap").removeprefix("ended "))

    def fetched(self) -> int:
        """Return how many source bytes all of them read so far."""
        return int(struct.unpack("<q", self._counter.read_bytes())[0])

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def ended(child: int) -> bool:
    """Whether a process waits to be reaped."""
    return ") Z " in Path(f"/proc/{child}/stat").read_text()


@contextmanager
def children(counter: Path) -> Iterator[Children]:
    counter.write_bytes(bytes(8))
    command = [sys.executable, "-m", "tests.integration.transfer_child", str(counter)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Children(process, counter)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def stores_in(folder: Path, count: int) -> dict[str, ImageStore]:
    stores = {}
    for number in range(count):
        path = folder / f"store-{number}"
        path.mkdir()
        store = ImageStore(str(path), storage_uuid=f"store-{number}", reserved_bytes=0, clock=SystemClock())
        store.probe()
        stores[f"store-{number}"] = store
    return stores


def objects(folder: Path) -> list[Path]:
    return [path for path in folder.glob("store-*/objects/**/*") if path.is_file() and path.suffix == ""]


def assert_no_object_has_wrong_bytes(folder: Path) -> None:
    for path in objects(folder):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def staged(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("store-*/staging/*")]


def half_the_time_away(seed: int) -> Callable[[str, str | None], int]:
    """Return a guard of a server whose images, but not their mirrors, are there for every other request."""
    chance = random.Random(seed)
    return lambda path, _: 503 if path.startswith("/image") and chance.random() < 0.5 else 200


def kill_until(
    kills: int, folder: Path, served: Served, *, packed: bool, targets: int, seed: int, mirrored: bool = False
) -> None:
    """Place one image after the other; kill its transfer at random moments until `kills` of them struck.

    `mirrored`: by the url, or by a mirror that calls the same bytes by another name, whoever is there at the time.
    """
    chance = random.Random(seed)
    if mirrored:
        served.guard = half_the_time_away(seed)
    stores = stores_in(folder, targets)
    struck = number = 0
    with children(folder / "fetched") as processes:
        while struck < kills:
            number += 1
            image = chance.randbytes(SIZE)
            body = gzip.compress(image, compresslevel=1, mtime=0) if packed else image
            served.files = {f"/image-{number}": body, f"/mirror-{number}": body}
            served.bytes_per_s = SIZE / FULL_S
            job = {
                "key": f"get-{number}",
                "url": served.url(f"/image-{number}"),
                "targets": {uuid: str(folder / uuid) for uuid in stores},
                "mirrors": [served.url(f"/mirror-{number}")] if mirrored else [],
                "checksum": f"sha256:{hashlib.sha256(body).hexdigest()}" if mirrored else None,
            }
            before, struck_before, status = processes.fetched(), struck, -9
            while status == -9:  # ends in the middle: placed is what is on the storages, not what a process says
                moment = (chance.randrange(len(body)), chance.uniform(0, FULL_S / 5)) if struck < kills else None
                status = processes.run(job, moment)
                struck += status == -9
                assert_no_object_has_wrong_bytes(folder)
                if [path.name for path in objects(folder)].count(hashlib.sha256(image).hexdigest()) == targets:
                    break  # placed; the kill came before it could say so, and it is for the engine to find it there
            else:
                pytest.fail(f"the transfer ended with {status}")
            cost = (struck - struck_before) * COST_OF_A_KILL
            assert len(body) <= processes.fetched() - before <= len(body) + cost
    for store in stores.values():
        store.sweep((), timedelta(0))
    assert staged(folder) == []
    assert len(objects(folder)) == number * targets


@pytest.mark.parametrize(
    ("packed", "targets", "mirrored"),
    [(False, 1, False), (True, 1, False), (False, 2, False), (True, 2, True)],
    ids=["plain", "compressed", "two storages", "mirrored, compressed, two storages"],
)
def test_ten_kills_leave_right_bytes_no_leak_and_count_little(
    tmp_path: Path, packed: bool, targets: int, mirrored: bool
) -> None:
    with ranged_server.serving() as served:
        kill_until(10, tmp_path, served, packed=packed, targets=targets, seed=targets, mirrored=mirrored)
        asked = {path.partition("-")[0] for path, status in served.asked if status == 206}
    assert asked == ({"/image", "/mirror"} if mirrored else {"/image"}), "both go on where somebody broke off"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("packed", "targets"), [(False, 1), (True, 2)], ids=["plain", "compressed, on two storages"])
def test_a_hundred_kills_leave_right_bytes_no_leak_and_count_little(tmp_path: Path, packed: bool, targets: int) -> None:
    with ranged_server.serving() as served:
        kill_until(100, tmp_path, served, packed=packed, targets=targets, seed=100 + targets)
