"""Full lists of the server's objects, in pages, compared with what the watch told."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import structlog

from controller import errors
from controller.kube import objects
from controller.kube.cache import Cache, Compared
from controller.kube.client import Client, Document, Gone
from controller.kube.objects import Entry
from controller.model.resource import Key, Kind

log = structlog.get_logger()

PAGE = 500
READ_ALONE = 100
"""Objects that are read one by one at most; where the watch missed more, all are listed in full."""
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
    """Return all objects as they were at one moment, and the version of that moment."""
    for _ in range(TRIES):
        try:
            # metadata say what is not known in that version, and are a third of the bytes, which mostly make the cost
            return (cache.entries(kind) and _by_metadata(client, kind, cache)) or _in_full(client, kind, cache)
        except Gone as exc:
            log.warning("kube.list_expired", kind=kind.value, message=str(exc))
    raise errors.ClusterUnavailable(f"a list of {kind.plural} expires before it is read, or the CRD is not installed")


def _by_metadata(client: Client, kind: Kind, cache: Cache) -> tuple[list[Entry], int] | None:
    """List metadata, and read what is new; None where that is too much. What went in between is not there."""
    listed: list[Entry] = []
    news: list[Key] = []
    version = 0
    for page in _pages(client.metadata_list, kind):
        for item in page["items"] or ():  # null where there are none
            if (known := cache.known(kind, item)) is not None:
                listed.append(known)
            else:
                news.append(objects.key_of(kind, item))
        if len(news) > READ_ALONE:
            return None
        version = int(page["metadata"]["resourceVersion"])
    for key in news:
        with suppress(Gone):
            listed.append(objects.parse(kind, client.get(objects.path(key))))
    return listed, version


def _in_full(client: Client, kind: Kind, cache: Cache) -> tuple[list[Entry], int]:
    """List whole objects. Those that the cache has in the same version come from there: parsing costs most."""
    listed: list[Entry] = []
    version = 0
    for page in _pages(client.get, kind):
        listed += [cache.known(kind, item) or objects.parse(kind, item) for item in page["items"]]
        version = int(page["metadata"]["resourceVersion"])
    return listed, version


def _pages(ask: Callable[..., Document], kind: Kind) -> Iterator[Document]:
    query = {"limit": str(PAGE)}
    while True:
        page = ask(objects.collection(kind), **query)
        yield page
        token = page["metadata"].get("continue")
        if not token:
            return
        query["continue"] = token
