"""Who has which bytes: what an image may share instead of fetching it.

The index in memory only says where to look. What is told is proven at that moment: by a claim of an image of the
namespace, seen on a storage; by the record of a stored content; or by a transfer that this process itself ended.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import structlog

from controller import errors
from controller.engine.census import images
from controller.engine.figures import Figures, Saving
from controller.engine.storages import OpenStorage, Storages
from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.resource import Image, Key
from controller.model.transfer import Placed, Provenance, TransferRequest
from controller.model.url import SourceUrl
from controller.plan import right, source
from controller.plan.observed import Shared
from controller.ports import Resources

log = structlog.get_logger()

K = TypeVar("K")
V = TypeVar("V")

ASKED = 8
"""Images, and versions of a url, that are looked at before giving up: hints are rarely wrong, and a look costs I/O."""
FRESH = 1024
"""Transfers that are remembered until the claims of their images say the same."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that came of a url once, and the storages (by uuid) that have it now."""

    content: Content
    provenance: Provenance
    storages: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Hint:
    """What one image says that it has."""

    uuid: str
    digests: frozenset[Digest]
    url: str
    contents: frozenset[Digest]


class Holdings:
    """Thread-safe. An image costs two small entries, a pass over it a comparison; nothing is searched."""

    def __init__(self, resources: Resources, storages: Storages, figures: Figures) -> None:
        self._figures = figures
        self._resources = resources
        self._storages = storages
        self._lock = threading.Lock()
        self._priming = threading.Lock()
        self._primed = False
        self._hints: dict[Key, _Hint] = {}
        self._by_digest: defaultdict[Digest, defaultdict[str, dict[Key, str]]] = defaultdict(lambda: defaultdict(dict))
        """Source digest -> namespace -> images with their uuids."""
        self._by_url: defaultdict[str, defaultdict[Digest, set[Key]]] = defaultdict(lambda: defaultdict(set))
        """Url -> stored content -> images."""
        self._fresh_digests: OrderedDict[tuple[str, Digest], Content] = OrderedDict()
        self._fresh_urls: OrderedDict[str, tuple[Digest, ...]] = OrderedDict()
        """Url -> what came of it, the newest first."""
        self._digested: OrderedDict[str, None] = OrderedDict()

    # --- what is noted -----------------------------------------------------------------------------------------------

    def saw(self, image: Image) -> None:
        """Take note of what an image has, as its status says."""
        hint, key = _hint(image), image.meta.key
        with self._lock:
            if self._hints.get(key) != hint:
                self._forget(key)
                if hint is not None:
                    self._note(key, hint)

    def forget(self, key: Key) -> None:
        """The image is gone."""
        with self._lock:
            self._forget(key)

    def placed(self, request: TransferRequest, placed: Placed) -> None:
        """Take note of bytes that a transfer of this namespace just placed; its images will claim them."""
        with self._lock:
            for digest in _identifying(placed.content):
                _remember(self._fresh_digests, (request.namespace, digest), placed.content)
            name, sha256 = source.fingerprint(request.url.text), placed.content.sha256
            before = (one for one in self._fresh_urls.get(name, ()) if one != sha256)
            _remember(self._fresh_urls, name, (sha256, *islice(before, ASKED - 1)))

    def spared(self, url: str, content: Content, length: int | None) -> None:
        """A download of so many bytes need not be. None: nobody noted how many there were before they were expanded."""
        self._figures.save(Saving.DEDUPE, length or 0)
        log.info("transfer.deduplicated", url=url, bytes=length, digest=str(content.sha256))

    def may_only_digest(self, key: str) -> bool:
        """Whether a transfer may fetch without writing: once, as what is not written cannot be gone on with."""
        with self._lock:
            before = key in self._digested
            _remember(self._digested, key, None)
            return not before

    # --- what is told ------------------------------------------------------------------------------------------------

    def of_namespace(self, namespace: str, digest: Digest, *, but: Key | None = None) -> Shared | None:
        """Return bytes whose digest as downloaded this is, and which an image of the namespace has on a storage.

        Not those of the image `but`. A storage that cannot be asked shows nothing.
        """
        if not digest.algorithm.identifies:
            return None
        self._prime()
        with self._lock:
            images = self._by_digest[digest].get(namespace, {}) if digest in self._by_digest else {}
            asked = list(islice(((key, uuid) for key, uuid in images.items() if key != but), ASKED))
            fresh = self._fresh_digests.get((namespace, digest))
        for key, uuid in asked:
            content = self._claimed(key, uuid, digest)
            if content is not None:
                return Shared(content, f"Image {key.owner}")
        if fresh is not None and self._holding(fresh.sha256):
            return Shared(fresh, f"an Image of namespace {namespace}")
        return None

    def of_anybody(self, digest: Digest) -> Content | None:
        """Return bytes whose digest as downloaded this is, whosever they are: for whoever fetches them all the same."""
        if not digest.algorithm.identifies:
            return None
        self._prime()
        with self._lock:
            spaces = self._by_digest[digest].values() if digest in self._by_digest else ()
            asked = list(islice(((key, uuid) for images in spaces for key, uuid in images.items()), ASKED))
        found = (self._claimed(key, uuid, digest) for key, uuid in asked)
        return next((content for content in found if content is not None), None)

    def of_url(self, url: SourceUrl) -> Iterator[Stored]:
        """Yield what the storages know to have come of a url, newest answers of each content first."""
        self._prime()
        name = source.fingerprint(url.text)
        with self._lock:
            contents = list(islice(self._by_url[name], ASKED)) if name in self._by_url else []
            contents += [sha256 for sha256 in self._fresh_urls.get(name, ()) if sha256 not in contents]
        for sha256 in contents:
            yield from self._recorded(sha256)

    # --- looking -----------------------------------------------------------------------------------------------------

    def _claimed(self, key: Key, uuid: str, digest: Digest) -> Content | None:
        for storage in self._connected():
            with suppress(errors.GoldmasterError):
                for ref in storage.adapter.refs(uuid):
                    matches = any(map(digest.matches, ref.content.source_digests))
                    if ref.intact and ref.owner == key.owner and matches:
                        content = _proven(storage, ref.content.sha256, digest)
                        if content is not None:
                            return content
        return None

    def _holding(self, sha256: Digest) -> dict[str, Content]:
        """Return the records of a content, by the uuids of the storages that have it."""
        found = {}
        for storage in self._connected():
            try:
                content = storage.adapter.find(sha256)
            except errors.GoldmasterError:
                continue
            if content is not None:
                found[storage.uuid] = content
        return found

    def _recorded(self, sha256: Digest) -> Iterator[Stored]:
        holding = self._holding(sha256)
        known: dict[Provenance, Content] = {}
        for storage in self._connected():
            if storage.uuid not in holding:
                continue
            try:
                answers = storage.adapter.provenance(sha256)
            except errors.GoldmasterError:
                continue
            known |= dict.fromkeys(reversed(answers), holding[storage.uuid])
        for provenance, content in known.items():
            yield Stored(content, provenance, frozenset(holding))

    def _connected(self) -> Iterator[OpenStorage]:
        return (storage for storage in self._storages.all() if storage.connected)

    # --- the index ---------------------------------------------------------------------------------------------------

    def _prime(self) -> None:
        """Read every status once, when something is first asked: a process that has nothing to import never does."""
        with self._priming:
            if self._primed:
                return
            for image in images(self._resources):
                self.saw(image)
            self._primed = True

    def _note(self, key: Key, hint: _Hint) -> None:
        self._hints[key] = hint
        for digest in hint.digests:
            self._by_digest[digest][key.namespace][key] = hint.uuid
        for sha256 in hint.contents:
            self._by_url[hint.url][sha256].add(key)

    def _forget(self, key: Key) -> None:
        hint = self._hints.pop(key, None)
        if hint is None:
            return
        for digest in hint.digests:
            spaces = self._by_digest[digest]
            del spaces[key.namespace][key]
            if not spaces[key.namespace]:
                del spaces[key.namespace]
            if not spaces:
                del self._by_digest[digest]
        for sha256 in hint.contents:
            contents = self._by_url[hint.url]
            contents[sha256].discard(key)
            if not contents[sha256]:
                del contents[sha256]
            if not contents:
                del self._by_url[hint.url]


def _proven(storage: OpenStorage, sha256: Digest, digest: Digest) -> Content | None:
    """Return a stored content where a download of that digest brought it once, as its record says.

    Whose claim it is says who has it, not what it is: that was copied from a status, which more can write than we.
    """
    content = storage.adapter.find(sha256)
    if content is None:
        return None
    if any(map(digest.matches, content.source_digests)):
        return content
    if digest == sha256:
        return replace(content, source_digests=(sha256,))
    answers = storage.adapter.provenance(sha256)
    known = next((one for one in answers if any(map(digest.matches, one.source_digests))), None)
    return None if known is None else right.as_fetched(content, known)


def _hint(image: Image) -> _Hint | None:
    status = image.status
    if status.current is None:
        return None
    contents = [revision.content for revision in (status.current, *status.history)]
    return _Hint(
        source.image_uuid(image),
        frozenset(digest for content in contents for digest in _identifying(content)),
        source.fingerprint(image.spec.url.text),
        frozenset({status.current.content.sha256}),
    )


def _identifying(content: Content) -> Iterator[Digest]:
    return (digest for digest in content.source_digests if digest.algorithm.identifies)


def _remember(notes: OrderedDict[K, V], key: K, value: V) -> None:
    notes[key] = value
    notes.move_to_end(key)
    if len(notes) > FRESH:
        notes.popitem(last=False)
