"""A copy that reads wrong when another storage is to be filled from it: nobody may be served by it any more."""

from dataclasses import replace

import structlog

from controller import errors
from controller.engine.transfer.berths import StorageOpener
from controller.engine.verify import hash_reader
from controller.model.transfer import Broken, TransferRequest
from controller.ports import StopToken
from controller.reasons import Reason

log = structlog.get_logger()


def judged(broken: Broken, request: TransferRequest, storages: StorageOpener, stop: StopToken) -> Broken:
    """Read a copy again that was found damaged; take it out of service where it is. Returns what becomes of the try.

    Trying again is no use as long as it is the copy that is asked first, and is once it is gone: another storage, or
    the source, is asked then.
    """
    origin, content = request.copy_from, request.expected_content
    if origin is None or content is None or broken.failure.reason is not Reason.STORAGE_DAMAGED:
        return broken
    try:
        storage = storages(origin.uuid, origin.spec)
        reader = storage.open(content.sha256, fresh=True)
        problem = ""
        try:
            got, size = hash_reader(reader, lambda _: _go_on(stop))
            if got != content.sha256:
                problem = f"expected {content.sha256}, got {got} ({size} bytes)"
        except errors.StorageDamaged as exc:
            problem = str(exc)
        if problem:
            storage.probe(create=False)  # a server that went away in the middle also reads as damage
            storage.quarantine(content.sha256, f"found when it was to be copied: {problem}", reader.version)
            log.error("copy.damaged", storage=origin.name, digest=str(content.sha256), message=problem)
    except errors.GoldmasterError as exc:
        log.warning("copy.not_judged", storage=origin.name, digest=str(content.sha256), message=str(exc))
    return replace(broken, failure=replace(broken.failure, terminal=False))


def _go_on(stop: StopToken) -> None:
    if stop.is_set():
        raise errors.Interrupted("stopped while a copy was read again")
