"""Whether a quiet point of the life model ended as it must: what was before, what was forecast, what is there now."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.image import RefStatus
from controller.model.resource import Image
from controller.reasons import Reason
from tests.integration.life_model import FORMAT_OF, SHA256, SIZES, Claim, Forecast, Seen, Wish, World
from tests.integration.life_moment import Moment


def reason(image: Image) -> Reason | None:
    """Say why an image is Ready, or is not."""
    found = conditions.find(image.status.conditions, ConditionType.READY)
    return None if found is None else found.reason


def is_ready(image: Image) -> bool:
    """Whether it says so."""
    return _is(image, ConditionType.READY)


def _is(image: Image, kind: ConditionType) -> bool:
    return conditions.is_true(image.status.conditions, kind)


def _kept(before: tuple[Claim, ...], after: tuple[Claim, ...]) -> bool:
    """Whether the same claims stand, and none lost its bytes."""
    now = {replace(claim, intact=True): claim for claim in after}
    same = now.keys() == {replace(claim, intact=True) for claim in before}
    return same and all(now[claim].intact for claim in before if claim.intact)


def held_up(seen: Seen, world: World) -> bool:
    """Whether the deletion of an image has to wait for a storage."""
    claimed = {name for name, claims in seen.claims.items() if claims}
    return bool(seen.used & world.away) or (seen.policy == "Direct" and bool(claimed & world.disabled))


@dataclass(frozen=True)
class Verdict:
    """A quiet point. `loose`: what kills left on a storage, by its name; of one that is not in, it is not known."""

    home: Path
    world: World
    wishes: Mapping[str, Wish]
    before: Moment
    after: Moment
    forecasts: Mapping[str, Forecast]
    loose: Mapping[str, frozenset[str]]

    def check(self) -> None:
        """Raise AssertionError, naming what is wrong."""
        deleted = self.before.images.keys() - self.wishes.keys()
        for owner, wish in self.wishes.items():
            self._image(owner, wish)
        for owner in deleted:
            self._deleted(owner)
        waiting = {owner for owner in deleted if held_up(self.before.seen(owner), self.world)}
        assert self.after.images.keys() == self.wishes.keys() | waiting
        self._trash(deleted)
        self._nothing_is_left()
        self._usage()

    # --- images ----------------------------------------------------------------------------------------------------

    def _image(self, owner: str, wish: Wish) -> None:
        image, forecast = self.after.images[owner], self.forecasts[owner]
        before, after = self.before.seen(owner), self.after.seen(owner)
        ready = _is(image, ConditionType.READY)
        said = conditions.find(image.status.conditions, ConditionType.READY)
        assert forecast.ready in {None, ready}, f"{owner} {wish} {before} was to be {forecast}, but: {said}"
        if ready:
            self._ready(owner, image, wish)
            assert not forecast.chain or after.current == forecast.chain[-1], f"{owner} serves something else"
            told = _is(image, ConditionType.UPSTREAM_CHANGED)
            assert forecast.told in {None, told}, f"{owner} {wish} {before}: UpstreamChanged is {told}"
        self._history(owner, wish, forecast, ready=ready)
        served = after.current is not None and after.anywhere(after.current)
        assert _is(image, ConditionType.AVAILABLE) == served, f"{owner}: Available is not what is there"
        self._serves_on(owner, wish, ready=ready)

    def _ready(self, owner: str, image: Image, wish: Wish) -> None:
        """Ready: this generation, these exact bytes, on all storages that the manifest names."""
        status, after = image.status, self.after.seen(owner)
        assert status.current is not None
        sha256 = status.current.content.sha256.hex
        assert status.observed_generation == image.meta.generation
        assert wish.taken(sha256, after.path), f"{owner} is Ready with {sha256} from {after.path}"
        assert after.path == wish.path
        assert wish.format in {None, FORMAT_OF[sha256]}
        assert status.current.content.size_bytes == SIZES[sha256]
        assert {ref.storage_name for ref in status.refs if ref.status is RefStatus.READY} == set(wish.places)
        for ref in status.refs:
            if ref.status is not RefStatus.READY:
                assert ref.storage_name not in wish.places, f"{owner} is Ready with {ref}"
                assert ref.status is RefStatus.UNKNOWN, f"{owner} is Ready with {ref}"
                continue
            path = self.home / ref.storage_name / "images" / ref.install_path.removeprefix("zstore://")
            assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256, f"{ref} has other bytes"
        allowed, uuid = {sha256, *after.history}, self.after.uuid(owner)
        for name, store in self.after.stores.items():
            if name in self.world.disabled:
                continue
            found = {claim.sha256 for claim in store.claims.get(uuid, ())}
            named = name in wish.places
            assert found <= (allowed if named else set()), f"{owner} keeps {found - allowed} on {name}"
            assert uuid not in store.trash, f"{owner} lives, and is in the trash of {name}"

    def _history(self, owner: str, wish: Wish, forecast: Forecast, *, ready: bool) -> None:
        """Which older revisions, in which order, up to the limit; and their copies are where they were."""
        before, after = self.before.seen(owner), self.after.seen(owner)
        must = before
        for current in forecast.chain[:-1]:
            must = must.after(current, wish, self.world)
        if after.current is not None:
            must = must.after(after.current, wish, self.world)
        fine = {must.history} if ready else {must.history, before.history}
        assert after.history in fine, f"{owner} {wish}: history is {after.history}, not {fine}; before: {before}"
        for sha256 in after.history:
            for name in set(before.places(wish, self.world)) & self.after.stores.keys():
                assert after.has(name, sha256) or not before.has(name, sha256), f"{owner} lost {sha256} on {name}"

    def _serves_on(self, owner: str, wish: Wish, *, ready: bool) -> None:
        """What was served is, until something else is: whatever becomes of what was asked for."""
        before, after = self.before.seen(owner), self.after.seen(owner)
        if ready or before.current is None or not before.anywhere(before.current):
            return
        assert after.current is not None
        assert after.anywhere(after.current), f"{owner} {wish} serves nothing any more; before: {before}"
        if after.current == before.current:
            places = set(before.places(wish, self.world)) & self.after.stores.keys()
            named = [name for name in places if before.has(name, before.current)]
            assert all(after.has(name, before.current) for name in named), f"{owner} lost a copy of what it serves"

    # --- deletions -------------------------------------------------------------------------------------------------

    def _deleted(self, owner: str) -> None:
        """Direct: nothing is left. Else all is left, and a record says until when."""
        before, after = self.before.seen(owner), self.after
        uuid = self.before.uuid(owner)
        for name, store in after.stores.items():
            if name not in self.before.stores:
                continue
            claims, record = store.claims.get(uuid, ()), store.trash.get(uuid)
            if before.policy == "Direct":
                assert record is None
                assert not claims or name in self.world.disabled, f"{owner} was to go, and is still on {name}"
                continue
            assert _kept(before.claims[name], claims), f"{owner} changed on {name} when it was deleted"
            if claims:
                assert record is not None, f"{owner} is kept on {name}, and nothing says so"
                assert f"{record['namespace']}/{record['name']}" == owner
                assert (record["expungeAt"] is None) == (before.policy == "Never")
                assert record["serving"] == before.current

    def _trash(self, deleted: set[str]) -> None:
        """Nobody touches what is in the trash, but the image that lives again."""
        for name, store in self.before.stores.items():
            if name not in self.after.stores:
                continue
            for uuid, record in store.trash.items():
                owner = f"{record['namespace']}/{record['name']}"
                if owner not in self.wishes and owner not in deleted:
                    now = self.after.stores[name]
                    assert now.trash.get(uuid) == record, f"the trash of {name} forgot {owner}"
                    assert _kept(store.claims.get(uuid, ()), now.claims.get(uuid, ())), f"{owner} lost bytes"

    # --- storages --------------------------------------------------------------------------------------------------

    def _nothing_is_left(self) -> None:
        """Every claim is of an image or in the trash, every object is claimed and right, nothing is under way."""
        uuids = {self.after.uuid(owner) for owner in self.after.images}
        for name, store in self.after.stores.items():
            for uuid in store.claims:
                assert uuid in uuids | store.trash.keys(), f"{store.owners[uuid]} has claims on {name}, and is nowhere"
            was = self.before.stores[name].wrong if name in self.before.stores else frozenset()
            assert store.wrong <= was, f"{name} has other bytes under the names {store.wrong}"
            if name in self.loose:
                left = store.left - self.loose[name]
                assert not left, f"nobody claims {left} on {name}, and no kill left it there"
        for name in self.world.dropped:
            used = any(ref.storage_name == name for image in self.after.images.values() for ref in image.status.refs)
            assert not used or name in self.after.storages, f"{name} is gone, and still used"

    def _usage(self) -> None:
        for name, measured in self.after.measured.items():
            assert measured.total == self.after.used(name, self.wishes), name

    def may_fetch_bytes(self, looks: int) -> int:
        """Return how many bytes the upstream may have been asked for at the most, with a byte for each look or proof.

        A source that has something else is tried twice.
        """
        fetching = sum(forecast.fetches for forecast in self.forecasts.values())
        most = max(SIZES[SHA256[content]] for content in self.world.offered.values()) if self.world.offered else 0
        return fetching * 2 * 3 * most + looks
