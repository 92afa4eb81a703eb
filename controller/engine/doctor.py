"""Compare what the state says, what the storages claim and what lies on them; explain and, if asked, mend."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from controller import errors
from controller.engine import census
from controller.engine.storages import OpenStorage, Storages
from controller.model.digest import Digest
from controller.model.resource import Image, Key
from controller.ports import Finding, Resources


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One inconsistency, on a storage or between a storage and the state. `mended` says what was done about it."""

    storage: str
    finding: Finding
    mended: bool = False


def diagnose(resources: Resources, storages: Storages, *, repair: bool, running: bool) -> Iterator[Diagnosis]:
    """Yield every inconsistency. With `repair`, mend what can be mended.

    `running`: another process reconciles this state; its partials are in use and are left alone.
    """
    images = list(census.images(resources))
    for storage in storages.all():
        yield from _diagnose_storage(storage, images, repair=repair, running=running)
    yield from _refs_to_nowhere(storages, images)


def _diagnose_storage(storage: OpenStorage, images: list[Image], *, repair: bool, running: bool) -> Iterator[Diagnosis]:
    adapter = storage.adapter
    try:
        claims = set(adapter.claims())
        for finding in list(adapter.findings()):
            if running and finding.code == "leaked-staging":
                continue
            mend = repair and bool(finding.repair)
            if mend:
                adapter.mend(finding)
            yield Diagnosis(storage.name, finding, mended=mend)
        if repair and not running:
            adapter.sweep(frozenset(), timedelta(0))
    except errors.StorageUnavailable as exc:
        yield Diagnosis(storage.name, Finding("unreachable", "", f"could not be asked: {exc}", ""))
        return
    trashed = {record.image_uuid for record in adapter.trash()}
    yield from _against_state(storage, images, {claim for claim in claims if claim[0] not in trashed})


def _against_state(storage: OpenStorage, images: list[Image], claims: set[tuple[str, Digest]]) -> Iterator[Diagnosis]:
    by_uuid = {image.status.uuid: image for image in images if image.status.uuid}
    for uuid, sha256 in sorted(claims):
        if uuid not in by_uuid:
            path = f"images/{uuid}/{sha256.hex[:40]}"
            text = (
                "claimed for an image that this state does not know: another instance's, or of a lost state. "
                f"Nothing is removed for you; once you are sure, remove images/{uuid} by hand and run doctor again"
            )
            yield Diagnosis(storage.name, Finding("foreign-claim", path, text, ""))
    for image in images:
        current = image.status.current
        for ref in image.status.refs:
            if ref.storage_uuid != storage.uuid or current is None or not ref.install_path:
                continue
            if (image.status.uuid, current.content.sha256) not in claims:
                text = f"{_name(image.meta.key)} has a ref to {ref.install_path}, which is not there"
                finding = Finding("ref-without-claim", ref.install_path, text, "fetched again by the next apply or run")
                yield Diagnosis(storage.name, finding)


def _refs_to_nowhere(storages: Storages, images: list[Image]) -> Iterator[Diagnosis]:
    known = {storage.uuid for storage in storages.all()}
    for image in images:
        for ref in image.status.refs:
            if ref.storage_uuid not in known:
                text = f"{_name(image.meta.key)} has a ref to a BackupStorage that does not exist any more"
                yield Diagnosis(ref.storage_name, Finding("ref-to-nowhere", ref.install_path, text, ""))


def _name(key: Key) -> str:
    return f"{key.namespace}/{key.name}"
