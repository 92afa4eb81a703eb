"""Full lists of the server's objects, in pages, compared with what the watch told."""

import structlog

from controller import errors
from controller.kube import objects
from controller.kube.cache import Cache, Compared
from controller.kube.client import Client, Gone
from controller.kube.objects import Entry
from controller.model.resource import Kind

log = structlog.get_logger()

PAGE = 500
TRIES = 3
"""A list is begun anew so often if it takes longer than the server keeps its old versions (5 minutes)."""


def resync(client: Client, cache: Cache) -> dict[Kind, Compared]:
    """List every kind and heal the cache by it. Raises ClusterUnavailable; the cache then stays as it is."""
    before = cache.highest
    found = {}
    for kind in (Kind.BACKUP_STORAGE, Kind.IMAGE):
        listed, version = _list(client, kind, cache)
        if version < before:  # restored from a backup: versions say nothing about what was known of them before
            listed, version = _list(client, kind, Cache())
        found[kind] = cache.compare(kind, listed, version, before)
    cache.forget_buried(before)
    return found


def _list(client: Client, kind: Kind, cache: Cache) -> tuple[list[Entry], int]:
    for _ in range(TRIES):
        try:
            return _pages(client, kind, cache)
        except Gone as exc:
            log.warning("kube.list_expired", kind=kind.value, message=str(exc))
    raise errors.ClusterUnavailable(f"a list of {kind.plural} expires before it is read, or the CRD is not installed")


def _pages(client: Client, kind: Kind, cache: Cache) -> tuple[list[Entry], int]:
    """Return all objects as they were at one moment, and the version of that moment.

    Objects that the cache has in the same version come from there: to parse costs four times what reading JSON does.
    """
    listed: list[Entry] = []
    query = {"limit": str(PAGE)}
    while True:
        page = client.get(objects.collection(kind), **query)
        listed += [cache.known(kind, item) or objects.parse(kind, item) for item in page["items"]]
        token = page["metadata"].get("continue")
        if not token:
            return listed, int(page["metadata"]["resourceVersion"])
        query["continue"] = token
