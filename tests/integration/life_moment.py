"""One moment of the life model: what the state says of images and storages, and what lies on those that answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.engine.usage import Bytes, Usage
from controller.gitops.state import State
from controller.model.resource import Image
from tests.integration import life_disks
from tests.integration.life_model import SHA256, SIZES, Here, Seen, Wish, World

STORAGES = ("s1", "s2")


@dataclass(frozen=True)
class Moment:
    """Where a quiet point begins, or ends. Images by namespace/name, stores by name."""

    images: Mapping[str, Image]
    stores: Mapping[str, life_disks.Store]
    """Those that can be asked, and are known or about to be."""
    storages: frozenset[str]
    """Those that the state has."""
    measured: Mapping[str, Usage] = field(default_factory=dict)

    @classmethod
    def of(cls, state: State, home: Path, world: World) -> "Moment":
        """Look at everything."""
        images = {image.meta.key.owner: image for image in state.images()}
        in_use = {ref.storage_name for image in images.values() for ref in image.status.refs}
        asked = [name for name in STORAGES if name not in world.away and (name not in world.dropped or name in in_use)]
        known = frozenset(storage.meta.key.name for storage in state.storages())
        return cls(images, {name: life_disks.read(home / name) for name in asked}, known)

    def uuid(self, owner: str) -> str:
        """Return the uuid of an image, living or in the trash; "" for none."""
        if owner in self.images:
            return str(self.images[owner].status.uuid)
        found = {uuid for store in self.stores.values() for uuid, who in store.owners.items() if owner in who}
        assert len(found) <= 1, f"{owner} has claims under {found}"
        return found.pop() if found else ""

    def seen(self, owner: str) -> Seen:
        """Return what the model goes by."""
        uuid = self.uuid(owner)
        claims = {name: store.claims.get(uuid, ()) for name, store in self.stores.items()}
        image = self.images.get(owner)
        if image is None:
            return Seen(claims)
        status, current = image.status, image.status.current
        delivery = current.delivery if current is not None else None
        return Seen(
            claims,
            known=True,
            current=None if current is None else current.content.sha256.hex,
            path=None if current is None else "/" + current.url.rpartition("/")[2],
            history=tuple(revision.content.sha256.hex for revision in status.history),
            etag=None if delivery is None else delivery.validator.etag,
            noticed=status.watch.seen is not None,
            used=frozenset(ref.storage_name for ref in status.refs),
            policy=image.spec.deletion_policy.value,
            limit=image.spec.revision_history_limit,
        )

    def _has(self, namespace: str, but: str) -> set[str]:
        """Return what the other images of a namespace serve or keep, and show."""
        found = set()
        for owner in self.images:
            if owner.startswith(f"{namespace}/") and owner != but:
                seen = self.seen(owner)
                found |= {one for one in (seen.current, *seen.history) if one is not None and seen.anywhere(one)}
        return found

    def here(self, owner: str, later: "Moment | None" = None) -> Here:
        """Return what others have for an image, as far as it is known: surely only what they have `later`, too."""
        namespace = owner.partition("/")[0]
        before = self._has(namespace, owner)
        after = set(SHA256) if later is None else later._has(namespace, owner)
        shared = frozenset() if later is None else frozenset(before & after)
        sound = {name: store.sound for name, store in self.stores.items()}
        shared = frozenset(one for one in shared if any(one in held for held in sound.values()))
        return Here(sound, shared, frozenset(before | after))

    def used(self, name: str, wishes: Mapping[str, Wish]) -> Bytes:
        """Return what the bytes on a storage are for, where every image is Ready; served ones count first."""
        store, serving = self.stores[name], {self.seen(owner).current for owner in wishes}
        served, kept, thrown = set[str](), set[str](), set[str]()
        for owner in wishes:
            for claim in store.claims.get(self.uuid(owner), ()):
                (served if claim.sha256 == self.seen(owner).current else kept).add(claim.sha256)
        for uuid in store.trash:
            thrown |= {claim.sha256 for claim in store.claims.get(uuid, ())}
        assert served <= serving
        sums = [sum(SIZES[one] for one in some) for some in (served, kept - served, thrown - kept - served)]
        return Bytes(*sums)
