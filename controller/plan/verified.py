"""When the bytes that an image serves were last proven, and how that is told."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from controller.model.image import ImageStatus, Revision
from controller.plan.observed import StorageView

STEP = timedelta(hours=1)
"""By how much a time must be newer to be told: a scrub costs an image one status write, another image that stores the
same bytes again costs it none."""


def verified_at(old: ImageStatus, current: Revision | None, storages: Iterable[StorageView]) -> datetime | None:
    """Return since when every copy that was seen is proven: of the copy whose proof is oldest.

    A copy of which no time was noted counts from its import. Where none was seen, the status stays as it is.
    """
    if current is None:
        return None
    sha256 = current.content.sha256
    claims = [claim for storage in storages if storage.serves(sha256) and (claim := storage.claim(sha256)) is not None]
    seen = min((claim.verified_at or claim.imported_at for claim in claims), default=None)
    known = old.verified_at if old.current is not None and old.current.content.sha256 == sha256 else None
    if seen is None or (known is not None and timedelta(0) <= seen - known < STEP):
        return known
    return seen


def told(current: Revision, at: datetime | None) -> str:
    """Say by what a revision was proven, and when first and last."""
    proven = f"{current.content.sha256} by {current.proof} at {_when(current.imported_at)}"
    return proven if at is None else f"{proven}, last read and right at {_when(at)}"


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
