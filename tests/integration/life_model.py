"""What the life model says should be: what becomes of an image at a quiet point, and what stays beside it. Pure.

The words are those of controller/README.md and crds/README.md, said once more and apart from `controller/plan`: what an
image is asked to be (Wish), what the world has (World), what was seen of it before (Seen), what must follow (Forecast).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controller.reasons import Reason
from tests.fakes import images

CONTENTS = [images.raw(seed=1), images.raw(seed=2), images.raw(seed=3), images.qcow2(payload=b"four")]
SHA256 = [hashlib.sha256(content).hexdigest() for content in CONTENTS]
FORMATS = ["raw", "raw", "raw", "qcow2"]
SIZES = {sha256: len(content) for sha256, content in zip(SHA256, CONTENTS, strict=True)}
FORMAT_OF = dict(zip(SHA256, FORMATS, strict=True))
NOTHING_HAS_IT = -1
"""The content of a wish whose checksum is of nothing."""

WAITING = frozenset({Reason.DEPENDENCY_NOT_READY, Reason.STORAGE_UNAVAILABLE})


def tag(sha256: str) -> str:
    """Return the ETag by which the upstream calls a content."""
    return f'"{sha256}"'


@dataclass(frozen=True)
class Wish:
    """What a manifest asks for. `content`: whose checksum it gives, None for none."""

    path: str
    content: int | None = None
    mirrors: tuple[str, ...] = ()
    places: tuple[str, ...] = ("s1", "s2")
    policy: str = "Delay"
    format: str | None = None
    limit: int = 2
    watch: str | None = None
    """The updatePolicy, with an interval of an hour; None: neither is given."""
    suspend: bool = False
    secret: bool = False

    def taken(self, sha256: str, path: str | None) -> bool:
        """Whether bytes that came from a path are what is asked for: by their checksum, else by the path."""
        return path == self.path if self.content is None else sha256 == self.promised

    @property
    def promised(self) -> str | None:
        """The sha256 that the checksum is of, "" where nothing has it, None without a checksum."""
        if self.content is None:
            return None
        return "" if self.content == NOTHING_HAS_IT else SHA256[self.content]

    def lawful(self) -> "Wish":
        """Leave out what a manifest may not say together."""
        if self.content is None:
            return replace(self, mirrors=())
        return replace(self, watch="Notify" if self.watch == "Import" else self.watch)


@dataclass
class World:
    """What upstreams have and who gets it, and how the storages stand."""

    offered: dict[str, int] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    """Path -> the password that it asks for."""
    key: str | None = None
    """The password in the Secret; None: there is no Secret."""
    away: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    """Those whose manifest is gone."""

    def gives(self, path: str, wish: Wish) -> str | None:
        """Return the content that a fetch of this wish gets from a path, None for nothing."""
        known = self.locks.get(path) in {None, self.key if wish.secret else None}
        return SHA256[self.offered[path]] if known and path in self.offered else None


@dataclass(frozen=True)
class Claim:
    """What a storage keeps for an image, as its files show it."""

    sha256: str
    path: str
    imported_at: str
    intact: bool


@dataclass(frozen=True)
class Seen:
    """An image as state and disks show it where a quiet point begins. `claims` of storages that answer, by name."""

    claims: Mapping[str, tuple[Claim, ...]]
    known: bool = False
    """Whether the state has it."""
    current: str | None = None
    path: str | None = None
    """Where `current` came from."""
    history: tuple[str, ...] = ()
    etag: str | None = None
    noticed: bool = False
    """Whether a look found that the upstream has something else."""
    used: frozenset[str] = frozenset()
    """Storages that it has a ref on."""
    policy: str = "Delay"
    limit: int = 2

    def has(self, storage: str, sha256: str) -> bool:
        """Whether a storage shows a good copy of this image's."""
        return any(claim.sha256 == sha256 and claim.intact for claim in self.claims.get(storage, ()))

    def anywhere(self, sha256: str) -> bool:
        """Whether any does."""
        return any(self.has(storage, sha256) for storage in self.claims)

    def newest_first(self, storages: Iterable[str]) -> list[str]:
        """Return the contents of the good copies on storages."""
        found = {claim for name in storages for claim in self.claims.get(name, ()) if claim.intact}
        ordered = sorted(found, key=lambda claim: (claim.imported_at, claim.sha256), reverse=True)
        return list(dict.fromkeys(claim.sha256 for claim in ordered))

    def places(self, wish: Wish, world: World) -> list[str]:
        """Return the storages of a wish that it may use: of those that are being deleted the ones that it uses."""
        return [name for name in wish.places if name not in world.dropped or name in self.used]

    def after(self, current: str, wish: Wish, world: World) -> "Seen":
        """Return it once `current` serves: what was served before is kept for going back, as far as the limit allows.

        First what was served last, then what stood before that, then what only copies speak of. What no storage of the
        image has any more is none, unless one could not be asked.
        """
        older = ([self.current] if self.current is not None else []) + list(self.history)
        places = self.places(wish, world)
        known = dict.fromkeys(one for one in (*older, *self.newest_first(places)) if one != current)
        sure = not world.away & set(places)
        kept = [one for one in known if not sure or any(self.has(name, one) for name in places)]
        return replace(self, current=current, history=tuple(kept[: wish.limit]))


@dataclass(frozen=True)
class Here:
    """What other images and the storages have, whoever may use it."""

    objects: Mapping[str, frozenset[str]]
    """Storage that answers -> contents in full, with their records."""
    shared: frozenset[str] = frozenset()
    """What another image of the namespace has, before and after."""
    maybe: frozenset[str] = frozenset()
    """What one had, or came to have meanwhile."""


@dataclass(frozen=True)
class Forecast:
    """What a quiet point must end with. `ready` None: one or the other, as it depends on who is first."""

    ready: bool | None
    chain: tuple[str, ...] = ()
    """What serves, one after the other."""
    waits: bool = False
    """Whether it waits for another object, so that it never settles."""
    fetches: bool = False
    told: bool | None = None
    """Whether UpstreamChanged stands; None: it is not said."""


def forecast(wish: Wish, seen: Seen, world: World, here: Here, *, asked: bool) -> Forecast:
    """Say what becomes of an image. `asked`: somebody asked for a look, at its source too."""
    wanted, either = _wanted(wish, seen, here)
    if wanted is None:
        found = _imported(wish, seen, world)
        return replace(found, ready=None, waits=False) if either and not found.ready else found
    importing = wish.watch == "Import" and not wish.suspend
    if importing and seen.noticed and wanted == seen.current:
        return _imported(wish, seen, world)
    offered = world.gives(wish.path, wish)
    if importing and asked and offered not in {None, wanted}:
        known = seen.etag if wanted == seen.current else None
        if known is None:
            return Forecast(None, fetches=True)
        if known != tag(str(offered)):
            found = _imported(wish, seen, world)
            return replace(found, chain=(wanted, *found.chain))
    found = _settled(wish, seen, world, here, wanted)
    return replace(found, told=_told(wish, seen, world, wanted, asked=asked))


def _wanted(wish: Wish, seen: Seen, here: Here) -> tuple[str | None, bool]:
    """Return what the image has, or may take, of what is asked for; and whether that depends on who is first."""
    if seen.current is not None and wish.taken(seen.current, seen.path):
        return seen.current, False
    fitting = {
        name: tuple(claim for claim in claims if wish.taken(claim.sha256, claim.path))
        for name, claims in seen.claims.items()
    }
    if claimed := replace(seen, claims=fitting).newest_first(fitting):
        return claimed[0], False
    if wish.promised in here.shared:
        return wish.promised, False
    return None, wish.promised in here.maybe


def _told(wish: Wish, seen: Seen, world: World, wanted: str, *, asked: bool) -> bool | None:
    if wish.watch in {None, "Ignore"}:
        return False
    offered = world.gives(wish.path, wish)
    compared = seen.etag is not None and wanted == seen.current and seen.path == wish.path
    if wish.watch != "Notify" or wish.suspend or wish.mirrors or not asked or offered is None or not compared:
        return None
    return seen.etag != tag(offered)


def _imported(wish: Wish, seen: Seen, world: World) -> Forecast:
    """The bytes have to come from the upstream."""
    if wish.suspend:
        return Forecast(ready=False)
    exist = seen.places(wish, world)
    if all(name in world.away | world.disabled for name in exist):
        return Forecast(ready=False, waits=True)
    if wish.secret and world.key is None:
        return Forecast(ready=False, waits=True)
    got = _fetched(wish, world, wish.promised)
    if got is None:
        return Forecast(ready=False, fetches=True)
    waits = len(exist) < len(wish.places) or any(name in world.away | world.disabled for name in exist)
    return Forecast(ready=not waits, chain=(got,), waits=waits, fetches=True)


def _fetched(wish: Wish, world: World, promised: str | None) -> str | None:
    """Return what one of the sources gives that is what was promised, None where none does."""
    for path in (wish.path, *wish.mirrors):
        got = world.gives(path, wish)
        if got is not None and promised in {None, got}:
            return got if wish.format in {None, FORMAT_OF[got]} else None
    return None


def _settled(wish: Wish, seen: Seen, world: World, here: Here, wanted: str) -> Forecast:
    """The content is known: it has to be on every storage of the image."""
    if wish.format not in {None, FORMAT_OF[wanted]}:
        return Forecast(ready=False)
    exist = seen.places(wish, world)
    shut = [name for name in exist if name in world.away or (name in world.disabled and not seen.has(name, wanted))]
    lacking = [name for name in exist if name not in shut and not seen.has(name, wanted)]
    entitled = wanted in here.shared or any(claim.sha256 == wanted for held in seen.claims.values() for claim in held)
    to_copy = [name for name in lacking if not (entitled and wanted in here.objects.get(name, ()))]
    if to_copy and wish.suspend:
        return Forecast(ready=None if entitled else False)  # what others bring meanwhile is claimed, not copied
    fetches = bool(to_copy) and not (seen.anywhere(wanted) or wanted in here.shared)
    if fetches:
        # its own claim entitles it to what others have there, come to have there, or let go of meanwhile
        if wish.secret and world.key is None:
            return Forecast(ready=None if entitled else False, waits=True, fetches=True)
        if _fetched(wish, world, wanted) is None:
            return Forecast(ready=None if entitled else False, fetches=True)
    waits = bool(shut) or len(exist) < len(wish.places)
    return Forecast(ready=not waits, chain=(wanted,), waits=waits, fetches=fetches)
