"""Which replica reconciles: one coordination.k8s.io Lease, as client-go's leader election has it.

No clocks are compared between machines: who waits watches the record, and takes it once it has not changed for the time
that its holder promised. Each write is bound to the version that was read. Who holds it stops before its time is over
if it cannot renew, and never takes a failed renewal for a success.
"""

import threading
from datetime import timedelta
from typing import Any

import structlog

from controller import errors
from controller.kube.client import Client, Gone
from controller.ports import Clock

log = structlog.get_logger()


class Lease:
    """Implements `loop.Leadership`. `identity` must be unique among the replicas."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        duration: timedelta = timedelta(seconds=15),
    ) -> None:
        """Take the duration that a silent holder keeps it: renewals come every seventh of it, and who cannot renew for
        two thirds of it stops.
        """
        self._client = client
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._path = f"{self._collection}/{name}"
        self._name = name
        self._identity = identity
        self._clock = clock
        self._duration_s = duration.total_seconds()
        self._retry_s = self._duration_s / 7
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed_at = float("-inf")
        self._given_up = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, stop: threading.Event) -> bool:
        """Wait until the lease is ours, then renew it in a thread; False when `stop` came first."""
        log.info("lease.waits", key=self._path, message=self._identity)
        while not stop.is_set():
            if self._try():
                self._given_up.clear()
                self._closing.clear()
                self._thread = threading.Thread(target=self._renew, name="lease")
                self._thread.start()
                log.info("lease.acquired", key=self._path, message=self._identity)
                return True
            stop.wait(self._retry_s)
        return False

    def lost(self) -> bool:
        """Whether it is somebody else's, or was not renewed for two thirds of its time."""
        return self._given_up.is_set() or self._clock.monotonic() - self._renewed_at > self._duration_s * 2 / 3

    def release(self) -> None:
        """Stop renewing, and let somebody else have it at once if it is still ours."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if self.lost():
            return
        try:
            found = self._client.get(self._path)
            if found["spec"].get("holderIdentity") == self._identity:
                # one second, as a Lease's duration is a whole positive number
                self._client.replace(self._path, self._record(found, holder="", duration_s=1))
        except (errors.TransientError, Gone) as exc:
            log.info("lease.not_released", message=str(exc))

    def _renew(self) -> None:
        while not self._closing.wait(self._retry_s):
            self._try()
            if self.lost():  # also after a renewal that took too long: somebody may have had it in between
                self._given_up.set()
                log.error("lease.lost", key=self._path, message=self._identity)
                return

    def _try(self) -> bool:
        """Take or renew it; return whether it is ours now."""
        asked_at = self._clock.monotonic()
        try:
            found = self._read()
            holder = found["spec"].get("holderIdentity") or ""
            if holder not in {"", self._identity} and not self._expired(found):
                return self._not_ours()
            self._client.replace(self._path, self._record(found, holder=self._identity))
        except (errors.TransientError, Gone) as exc:  # a conflict: somebody was faster; gone: deleted under our hands
            log.debug("lease.not_ours", message=str(exc))
            return False
        self._renewed_at = asked_at
        return True

    def _not_ours(self) -> bool:
        """Somebody else holds it, whatever we believed."""
        self._renewed_at = float("-inf")
        return False

    def _read(self) -> dict[str, Any]:
        """Return the lease; make one that nobody holds where there is none."""
        try:
            return self._client.get(self._path)
        except Gone:
            metadata = {"name": self._name}
            fresh = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {}}
            return self._client.create(self._collection, fresh)

    def _expired(self, found: dict[str, Any]) -> bool:
        """Whether the record stood still, under our eyes, for as long as its holder promised."""
        version, now = found["metadata"]["resourceVersion"], self._clock.monotonic()
        if self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > float(found["spec"].get("leaseDurationSeconds") or self._duration_s)

    def _record(self, found: dict[str, Any], *, holder: str, duration_s: int | None = None) -> dict[str, Any]:
        spec = dict(found["spec"])
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if holder and spec.get("holderIdentity") != holder:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= {"leaseDurationSeconds": duration_s or max(1, round(self._duration_s)), "renewTime": now}
        # of a lease that nobody holds, the field is absent: an empty one is refused
        spec |= {"holderIdentity": holder or None}
        return {**found, "spec": spec}
