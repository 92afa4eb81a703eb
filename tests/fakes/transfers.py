"""Transfers that end when a test says so: really placed on the fake storages, or failed."""

import hashlib
import threading
from collections.abc import Callable

from controller.model.digest import Algorithm, Digest
from controller.model.image import Content, Format
from controller.model.transfer import (
    Broken,
    Failure,
    Placed,
    Running,
    TransferRequest,
    TransferState,
    Validator,
)
from controller.ports import StorageFactory


def content_of(data: bytes) -> Content:
    """Return the facts of some bytes."""
    sha256 = Digest(Algorithm.SHA256, hashlib.sha256(data).hexdigest())
    md5 = Digest(Algorithm.MD5, hashlib.md5(data).hexdigest())
    return Content(sha256, md5, len(data), len(data), Format.RAW, (sha256,))


class FakeTransfers:
    """Implements `ports.Transfers`. `sources` says what each URL serves."""

    def __init__(self, factory: StorageFactory, on_change: Callable[[str, frozenset[str]], None]) -> None:
        self._factory = factory
        self._on_change = on_change
        self._lock = threading.Lock()
        self._states: dict[str, TransferState] = {}
        self._owners: dict[str, set[str]] = {}
        self.requests: dict[str, TransferRequest] = {}
        self.started: list[TransferRequest] = []
        self.sources: dict[str, bytes] = {}

    def start(self, request: TransferRequest, owner: str) -> None:
        with self._lock:
            self._owners.setdefault(request.key, set()).add(owner)
            if request.key not in self._states:
                self.started.append(request)
                self.requests[request.key] = request
                self._states[request.key] = Running(0, None)

    def state(self, key: str) -> TransferState | None:
        with self._lock:
            return self._states.get(key)

    def owned(self, owner: str) -> frozenset[str]:
        with self._lock:
            return frozenset(key for key, owners in self._owners.items() if owner in owners)

    @property
    def busy(self) -> bool:
        with self._lock:
            return any(isinstance(state, Running) for state in self._states.values())

    def release(self, key: str, owner: str) -> None:
        with self._lock:
            owners = self._owners.get(key, set())
            owners.discard(owner)
            if not owners:
                self._owners.pop(key, None)
                self._states.pop(key, None)

    def load(self) -> tuple[int, int]:
        with self._lock:
            return 0, sum(isinstance(state, Running) for state in self._states.values())

    def finish(self, failure: Failure | None = None) -> None:
        """End what runs: well, or with a failure."""
        with self._lock:
            running = [key for key, state in self._states.items() if isinstance(state, Running)]
        for key in running:
            state = Broken(failure, advanced=False) if failure else self._place(self.requests[key])
            with self._lock:
                self._states[key] = state
                owners = frozenset(self._owners[key])
            self._on_change(key, owners)

    def _place(self, request: TransferRequest) -> Placed:
        if request.copy_from is not None and request.expected_content is not None:
            reader = self._factory(request.copy_from.uuid, request.copy_from.spec).open(request.expected_content.sha256)
            buffer = memoryview(bytearray(request.expected_content.size_bytes))
            reader.readinto(buffer)
            reader.close()
            data = bytes(buffer)
        else:
            data = self.sources[request.url.text]
        content = content_of(data)
        for target in request.targets:
            storage = self._factory(target.uuid, target.spec)
            staged = storage.stage(request.key, keep_bytes=0, size_hint=len(data))
            staged.write(memoryview(data))
            staged.sync()
            storage.publish(staged, content)
        stored = frozenset(target.uuid for target in request.targets)
        return Placed(content, stored, (), Validator('"v"'), request.url.redacted, len(data), 0)
