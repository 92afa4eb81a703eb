"""Runs transfers in processes that can be killed: `python -m tests.integration.transfer_child COUNTER`.

Reads a job (JSON) per line, forks a child for it and says `started PID`; asked to `reap`, it waits for the child and
says `ended STATUS`, so that the PID means that child until then. A child starts in milliseconds, as everything is
imported already. COUNTER is a file of eight bytes: how many source bytes were fetched.
"""

import json
import mmap
import os
import struct
import sys
import threading
from ipaddress import ip_network
from typing import Any

import structlog

from controller.adapters.backup.factory import BackupStorages
from controller.adapters.clock import SystemClock
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.http import HttpSource
from controller.engine.transfer import one_pass
from controller.engine.transfer.limits import PassLimits
from controller.model.backup_storage import BackupStorageSpec, ImageStoreSpec, StorageType
from controller.model.digest import Digest
from controller.model.image import Timeouts
from controller.model.transfer import Placed, TransferRequest, TransferTarget
from controller.model.url import SourceUrl
from controller.ports import Body, FetchRequest, Source, StopToken

KIB = 1024
PACE = PassLimits(buffer_bytes=32 * KIB, buffers=3, slice_bytes=16 * KIB, checkpoint_bytes=128 * KIB, checkpoint_s=0.02)


class CountingSource:
    """Counts what is read in a file that outlives the process."""

    def __init__(self, inner: Source, counter: mmap.mmap) -> None:
        self._inner = inner
        self._counter = counter

    def open(self, request: FetchRequest, stop: StopToken) -> Body:
        body = self._inner.open(request, stop)
        readinto = body.readinto

        def counted(buffer: memoryview) -> int:
            count = readinto(buffer)
            struct.pack_into("<q", self._counter, 0, struct.unpack_from("<q", self._counter)[0] + count)
            return count

        body.readinto = counted  # type: ignore[method-assign]
        return body


def request_of(job: dict[str, Any]) -> TransferRequest:
    """Return the request that a job describes."""
    targets = tuple(
        TransferTarget(
            uuid,
            uuid,
            BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(path), reserved_capacity_bytes=0),
        )
        for uuid, path in job["targets"].items()
    )
    return TransferRequest(
        key=job["key"],
        namespace="default",
        url=SourceUrl.parse(job["url"]),
        source_id=job["url"],
        targets=targets,
        checksum=Digest.parse(job["checksum"]) if job["checksum"] else None,
        format=None,
        iso_expected=False,
        max_size_bytes=2**40,
        timeouts=Timeouts(),
        mirrors=tuple(SourceUrl.parse(mirror) for mirror in job.get("mirrors", ())),
    )


def transfer(job: dict[str, Any], counter: mmap.mmap) -> int:
    """Run one transfer; return the exit status: 0 placed, 1 broken."""
    clock = SystemClock()
    source = CountingSource(HttpSource(AddressPolicy((ip_network("127.0.0.0/8"),)), clock), counter)
    result = one_pass.run(
        request_of(job), source, BackupStorages(clock), clock, threading.Event(), lambda _: None, PACE
    )
    if not isinstance(result, Placed):
        sys.stderr.write(f"{result}\n")
        return 1
    return 0


def main() -> None:
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=sys.stderr))  # stdout is for answers
    with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 8) as counter:
        for line in sys.stdin:
            child = os.fork()
            if child == 0:
                status = 2
                try:
                    status = transfer(json.loads(line), counter)
                finally:
                    os._exit(status)
            sys.stdout.write(f"started {child}\n")
            sys.stdout.flush()
            assert sys.stdin.readline() == "reap\n"
            _, status = os.waitpid(child, 0)
            sys.stdout.write(f"ended {os.waitstatus_to_exitcode(status)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
