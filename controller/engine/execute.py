"""Carry out effects. The only place where a plan touches the world."""

from typing import assert_never

import structlog

from controller import __version__
from controller.engine.storages import Storages
from controller.model.receipt import statement
from controller.model.resource import Image
from controller.plan.effects import Discard, Effect, LetGo, Link, ReleaseTransfer, Restore, StartTransfer, Unlink
from controller.ports import Resources, Transfers

log = structlog.get_logger()


def execute(
    effect: Effect, image: Image, uuid: str, storages: Storages, transfers: Transfers, resources: Resources
) -> None:
    """Do one effect for an image. Every effect is idempotent; errors of `controller.errors` pass through."""
    log.debug("effect", image=str(image.meta.key), effect=type(effect).__name__)
    match effect:
        case StartTransfer(request):
            transfers.start(request, image.meta.uid)
        case ReleaseTransfer(key):
            transfers.release(key, image.meta.uid)
        case Link(storage_uuid, ref, receipt):
            said = None if receipt is None else statement(receipt, __version__)
            storages.by_uuid(storage_uuid).adapter.link(uuid, ref, said)
        case Unlink(storage_uuid, sha256):
            storages.by_uuid(storage_uuid).adapter.unlink(uuid, sha256)
        case Discard(storage_uuid, record):
            storages.by_uuid(storage_uuid).adapter.discard(record)
        case Restore(storage_uuid):
            storages.by_uuid(storage_uuid).adapter.restore(uuid)
        case LetGo():
            resources.release(image.meta.key, image.meta.uid)
        case _ as never:
            assert_never(never)
