"""The lease, where a server answers oddly: who holds it when is shown by tests/apiserver/test_operator_leader.py."""

import threading
from datetime import timedelta

from controller.adapters.clock import SystemClock
from controller.kube.client import Client
from controller.kube.lease import Lease
from tests.unit.kube.api import Api

LEASES = "/apis/coordination.k8s.io/v1/namespaces/system/leases"


def test_a_lease_that_is_deleted_between_reading_and_writing_is_taken_later(api: Api, client: Client) -> None:
    """Whoever deletes it means a new election, not the end of whoever takes part."""
    unheld = {"metadata": {"name": "goldmaster", "resourceVersion": "1"}, "spec": {}}
    api.lists = {LEASES: unheld, f"{LEASES}/goldmaster": unheld}
    api.answer(200, unheld)
    api.answer(404)
    lease = Lease(client, "system", "goldmaster", "replica", SystemClock(), timedelta(seconds=0.7))
    assert lease.acquire(threading.Event())
    lease.release()
    assert [method for method, *_ in api.asked][:4] == ["GET", "PUT", "GET", "PUT"]
