"""What a look at a source says: whether it has something else now, and what is kept and told of that."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from controller.model.conditions import Condition, ConditionType
from controller.model.delivery import Delivery, Sighting, Validator, Watch
from controller.model.image import Content, ImageSpec, Revision, UpdatePolicy
from controller.model.resource import Image
from controller.reasons import Reason

NAMELESS = "the source names no version: its answer has no ETag, no Last-Modified and no length"


def watched(spec: ImageSpec) -> bool:
    """Whether the spec asks for looks at all."""
    return spec.interval is not None and spec.update_policy is not UpdatePolicy.IGNORE


def condition(image: Image, current: Revision | None, watch: Watch, now: datetime) -> Iterator[Condition]:
    """Yield UpstreamChanged where it is so."""
    if watch.seen is None or current is None or not watched(image.spec):
        return
    message = f"the source has changed since the import of {current.content.sha256}: {_told(current, watch.seen)}"
    generation = image.meta.generation
    yield Condition(ConditionType.UPSTREAM_CHANGED, True, Reason.SOURCE_CHANGED, message, generation, now)


def kept(image: Image, current: Revision | None) -> Watch:
    """Return what a new status keeps of the last look: nothing of what it said about another version."""
    old = image.status
    same = old.current is not None and current is not None and _identity(old.current) == _identity(current)
    return old.watch if same and watched(image.spec) else Watch(old.watch.checked_at)


def _identity(revision: Revision) -> tuple[Content, str, Delivery | None]:
    return revision.content, revision.source_id, revision.delivery


@dataclass(frozen=True, slots=True)
class _Version:
    """What two answers can be compared by."""

    etag: str | None
    modified: str | None
    length: int | None


def _version(validator_of: Delivery | Sighting) -> _Version:
    """Return the names of a version. A weak ETag counts: what changed must be noticed, not proven."""
    etag, modified = validator_of.validator.etag, validator_of.validator.last_modified
    return _Version(None if etag is None else etag.removeprefix("W/"), modified, validator_of.length)


def known_version(subject: Revision) -> _Version | None:
    """Return what the source called the version that was imported, None where nobody wrote it down."""
    version = None if subject.delivery is None else _version(subject.delivery)
    return None if version in {None, _Version(None, None, None)} else version


def differs(subject: Revision, said: Sighting) -> bool | None:
    """Whether the source has something else now; None: it cannot be told."""
    if said.digest is not None:
        return said.digest not in subject.content.source_digests
    known, now = known_version(subject), _version(said)
    if known is None:
        return None
    if _of_file(subject) and known.modified and now.modified:
        return _file_facts(known.modified) != _file_facts(now.modified)
    lengths_differ = known.length is not None and now.length is not None and known.length != now.length
    if known.etag is not None and now.etag is not None:
        return known.etag != now.etag or lengths_differ
    if known.modified is not None and now.modified is not None:
        return known.modified != now.modified or lengths_differ
    return lengths_differ if known.length is not None and now.length is not None else None


def _of_file(subject: Revision) -> bool:
    asked = subject.url if subject.delivery is None else subject.delivery.mirror or subject.url
    return asked.startswith("file:")


def _file_facts(text: str) -> tuple[str, str]:
    """Return modification time and size. The rest changes with a chmod, a remount or a new link."""
    modified, *_, size = text.split("/")
    return modified, size


def nameless(subject: Revision) -> bool:
    """Whether nobody wrote down how the source called the version that was imported."""
    return subject.delivery is None or subject.delivery.validator == Validator()


def named(delivery: Delivery | None, said: Sighting) -> Delivery:
    """Take down a version that nobody had: bytes that were found by their digest, or adopted, have none."""
    known = delivery or Delivery("")
    return replace(known, validator=said.validator, length=known.length if said.length is None else said.length)


def _told(current: Revision, seen: Sighting) -> str:
    """Say what was and what is."""
    if seen.digest is not None:
        algorithm = seen.digest.algorithm
        named = [digest for digest in current.content.source_digests if digest.algorithm is algorithm]
        return f"the list named {(*named, *current.content.source_digests)[0]}, and names {seen.digest} now"
    before = current.delivery or Delivery("")
    return "; ".join(
        f"{name} was {old or 'unknown'}, is {new or 'not given'}"
        for (name, old), (_, new) in zip(
            _names(current, before.validator, before.length), _names(current, seen.validator, seen.length), strict=True
        )
        if old != new
    )


def _names(subject: Revision, validator: Validator, length: int | None) -> tuple[tuple[str, str | None], ...]:
    """Return by what people tell one version from another."""
    etag, modified = ("ETag", validator.etag), ("Last-Modified", validator.last_modified)
    size = ("length", None if length is None else str(length))
    if _of_file(subject):
        time = None if validator.last_modified is None else _file_time(validator.last_modified)
        return ("modification time", time), size
    return etag, modified, size


def _file_time(text: str) -> str:
    """Return the modification time of a file as people read it, to the nanosecond: two versions must look different."""
    seconds, fraction = divmod(int(_file_facts(text)[0]), 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"
