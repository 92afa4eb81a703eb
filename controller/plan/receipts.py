"""Which receipt goes with a claim: what was done for it, and nothing that was not."""

from collections.abc import Iterable
from dataclasses import replace

from controller.model.image import Revision
from controller.model.receipt import Fetched, How, Receipt
from controller.model.transfer import Placed
from controller.plan.case import Case
from controller.plan.effects import Link


def attached(case: Case, links: Iterable[Link], wanted: Revision) -> tuple[Link, ...]:
    """Return the links, each with the receipt of its bytes."""
    return tuple(replace(link, receipt=_receipt(case, link.storage_uuid, wanted)) for link in links)


def _receipt(case: Case, storage_uuid: str, wanted: Revision) -> Receipt:
    name = next(storage.name for storage in case.observed.storages if storage.uuid == storage_uuid)
    known = Receipt(
        how=How.SHARED,
        image=case.image.meta.key.owner,
        image_uuid=case.uuid,
        storage=name,
        content=wanted.content,
        proof=wanted.proof,
        url=wanted.url,
        imported_at=wanted.imported_at,
        generation=case.image.meta.generation,
        finished_at=case.now,
        asked_at=case.image.meta.revision,
    )
    placed = _placed(case, storage_uuid, wanted)
    if placed is None:
        return known
    known = replace(known, started_at=placed.started_at, finished_at=placed.finished_at or case.now)
    if placed.copied_from is not None:
        return replace(known, how=How.COPIED, copied_from=placed.copied_from)
    if placed.fetched_bytes + placed.resumed_bytes == 0:
        return replace(known, confirmed_by=_fetched(placed, case))
    return replace(known, how=How.DOWNLOADED, fetched=_fetched(placed, case))


def _placed(case: Case, storage_uuid: str, wanted: Revision) -> Placed | None:
    """Return the transfer that put these bytes there just now, whoever started it."""
    ended = (state for _, state in sorted(case.observed.transfers.items()) if isinstance(state, Placed))
    return next((one for one in ended if one.content == wanted.content and storage_uuid in one.stored), None)


def _fetched(placed: Placed, case: Case) -> Fetched:
    return Fetched(
        url=placed.mirror or case.image.spec.url.redacted,
        served_by=placed.served_by,
        validator=placed.validator,
        peer=placed.peer,
        fetched_bytes=placed.fetched_bytes,
        resumed_bytes=placed.resumed_bytes,
        length=placed.length,
        skipped=placed.skipped,
    )
