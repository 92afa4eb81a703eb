"""Kubernetes Events: what `kubectl describe` shows last. Posted when an object fails in a new way, or recovers.

Retries that fail the same way post nothing, nor do the steps of work that goes well. An Event that cannot be posted is
lost: it only repeats what the status says.
"""

import queue
import threading
from typing import Any

import structlog

from controller import errors
from controller.kube import objects
from controller.kube.client import Client, Gone
from controller.kube.objects import AnyResource
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.fields import format_time
from controller.model.resource import API_VERSION
from controller.ports import Clock
from controller.reasons import Reason

log = structlog.get_logger()

WAITING = 1000
"""Events that wait to be posted at most; more are dropped."""
REMEMBERED = 20_000
"""Objects whose last Event is remembered."""
MAX_MESSAGE = 1024  # characters; the server refuses longer ones
UNDER_WAY = frozenset({Reason.PROGRESSING, Reason.QUEUED, Reason.SUSPENDED, Reason.DEPENDENCY_NOT_READY})
"""Why an object may be not Ready without anything having gone wrong with it."""
CLUSTER_SCOPED_IN = "default"
"""The namespace that holds the Events of objects that have none, as kubectl expects."""


class Events:
    """Posts in a thread of its own. `saw` is the hook of `KubeResources`."""

    def __init__(self, client: Client, clock: Clock, identity: str) -> None:
        self._client = client
        self._clock = clock
        self._identity = identity
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._last: dict[str, Reason] = {}
        self._thread = threading.Thread(target=self._post_all, name="events", daemon=True)
        self._thread.start()

    def saw(self, before: AnyResource, after: AnyResource) -> None:
        """Compare two states of an object; never blocks."""
        self._upstream(before, after)
        ready = conditions.find(after.status.conditions, ConditionType.READY)
        if ready is None or (not ready.status and ready.reason in UNDER_WAY):
            return
        reason = Reason.SUCCEEDED if ready.status else ready.reason
        if self._told(before, reason):
            return
        self._tell(after, reason.value, ready.message, warning=not ready.status)

    def _upstream(self, before: AnyResource, after: AnyResource) -> None:
        """Tell of a source that changed, and of one that changed again."""
        kind = ConditionType.UPSTREAM_CHANGED
        told, known = (conditions.find(one.status.conditions, kind) for one in (after, before))
        if told is not None and (known is None or told.message != known.message):
            self._tell(after, kind.value, told.message, warning=False)

    def _tell(self, of: AnyResource, reason: str, message: str, *, warning: bool) -> None:
        try:
            self._queue.put_nowait(self._event(of, reason, message, warning=warning))
        except queue.Full:
            log.warning("kube.event_dropped", key=str(of.meta.key), reason=reason)

    def close(self) -> None:
        """Post what waits, then end; give up after a moment."""
        try:
            self._queue.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(5)

    def _told(self, before: AnyResource, reason: Reason) -> bool:
        """Whether the last Event of the object said the same: posted by us, or to be inferred from its old status."""
        uid = before.meta.uid
        old = conditions.find(before.status.conditions, ConditionType.READY)
        inferred = None if old is None else old.reason
        with self._lock:
            last = self._last.pop(uid, inferred)
            self._last[uid] = reason
            while len(self._last) > REMEMBERED:
                del self._last[next(iter(self._last))]
        return last is reason

    def _event(self, of: AnyResource, reason: str, message: str, *, warning: bool) -> dict[str, Any]:
        key, now = of.meta.key, format_time(self._clock.now().replace(microsecond=0))
        namespace = key.namespace or CLUSTER_SCOPED_IN
        about = {"apiVersion": API_VERSION, "kind": key.kind.value, "name": key.name, "uid": of.meta.uid}
        if key.namespace:
            about["namespace"] = key.namespace
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{key.name[:200]}.", "namespace": namespace},
            "involvedObject": about | {"resourceVersion": of.meta.version},
            "reason": reason,
            "message": message[:MAX_MESSAGE] or reason,
            "type": "Warning" if warning else "Normal",
            "source": {"component": "goldmaster"},
            "reportingComponent": "goldmaster.dev/controller",
            "reportingInstance": self._identity[:128],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _post_all(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._client.create(objects.events(event["metadata"]["namespace"]), event)
            except (errors.GoldmasterError, Gone) as exc:  # a namespace that goes refuses new objects, with 403
                log.debug("kube.event_not_posted", message=str(exc))
