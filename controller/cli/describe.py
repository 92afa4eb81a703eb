"""`goldmaster describe`: everything known of one object, for people."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from controller import errors, reading
from controller.adapters.clock import SystemClock
from controller.cli import complete, kinds, options, receipts, screen
from controller.model import quantity
from controller.model.ownership import LAST_APPLIED
from controller.model.resource import Kind
from controller.model.stored import Stored, not_found
from controller.model.url import SourceUrl
from controller.plan import room
from controller.reasons import Reason

if TYPE_CHECKING:
    from controller.cli.usage import Usages
    from controller.engine.usage import Usage

_LABEL_WIDTH = 20
_MOST_HOLDERS = 10
"""How many images are named of whom bytes could be freed, the largest."""


@click.command(short_help="Tell everything known of one object.")
@click.argument("kind", metavar="KIND", shell_complete=lambda *_: ["image", "backupstorage"])
@click.argument("name", shell_complete=complete.objects)
@options.option(
    "--receipt", is_flag=True, help="Print only the import receipt of an image, an in-toto statement as JSON."
)
@options.place
@options.namespace_of_place
def describe(kind: str, name: str, receipt: bool, place: reading.Place, namespace: str | None) -> None:
    """Tell everything known of the image or backupstorage called NAME: what is asked for, what is there, and why.

    What `suspend`, `resume` and `reconcile` asked for stands under Overrides, as no manifest says it. Receipts lie
    beside the bytes, and are shown where they can be read: with --kube only --receipt looks for them, which works where
    the storages are mounted, as in the operator's Pod. Where there is none, --receipt ends with exit code 8.
    """
    wanted = kinds.kind_of(kind)
    if receipt and wanted is not Kind.IMAGE:
        raise click.UsageError("--receipt is of an image")
    with reading.view(place, screen.warn) as view:
        within = namespace or view.namespace if wanted is Kind.IMAGE else None
        found = view.stored(wanted, within, name)
        here = wanted is Kind.IMAGE and (receipt or place.state_dir is not None)
        storages = view.storages() if here else []
    if not found:
        raise not_found(wanted, name, within)
    kept = receipts.of_image(found[0].document["status"], storages)
    if receipt:
        click.echo(receipts.best(kept))
        return
    usages: Usages = {}
    if wanted is Kind.BACKUP_STORAGE or _lacks_space(found[0]):
        from controller.cli import usage  # asks the storages: more is imported than a reading verb needs

        usages = usage.of_storages(place) or {}
    for line in lines(found[0], SystemClock().now(), usages, kept):
        screen.show(line)


def lines(stored: Stored, now: datetime, usages: "Usages", kept: receipts.Receipts = ()) -> Iterator[str]:
    """Yield the lines of a description. `usages` of the storages, where they matter; `kept`: the receipts."""
    document = stored.document
    metadata, status = document["metadata"], document["status"]
    yield _line("Name", stored.key.name)
    if stored.key.namespace:
        yield _line("Namespace", stored.key.namespace)
    if stored.source:
        yield _line("Manifest", stored.source)
    if stored.keeper:
        yield _line("Kept by", stored.keeper)
    for title in ("labels", "annotations"):
        entries = sorted((key, value) for key, value in metadata.get(title, {}).items() if key != LAST_APPLIED)
        for number, (key, value) in enumerate(entries):
            yield _line(title.title() if not number else "", f"{key}={value}")
    yield _line("Created", _when(metadata["creationTimestamp"], now))
    if "deletionTimestamp" in metadata:
        yield _line("Deleting since", _when(metadata["deletionTimestamp"], now))
    yield _line("Generation", f"{metadata['generation']} (status answers {status.get('observedGeneration', 'none')})")
    if "observedRevision" in status:
        yield _line("Revision", status["observedRevision"])
    yield from _section("Overrides", _overrides(stored))
    yield from _section("Spec", _tree(_redacted(document["spec"])))
    yield from _section("Status", _image_status(status, now) if "path" not in status else ())
    yield from _section("Backup storages", _refs(status.get("backupStorageRefs", ())))
    yield from _section("Import receipts", (_short(name, text) for name, text in receipts.lines(kept, now)))
    yield from _section("Conditions", _conditions(status.get("conditions", ()), now))
    if stored.key.kind is Kind.BACKUP_STORAGE:
        yield from _section("Usage", _usage(usages, stored.key.name))
        mine = {name: usage for name, usage in usages.items() if name == stored.key.name and usage and _frees(usage)}
        yield from _section("Could be freed", _could_be_freed(mine))
    else:
        yield from _section("Could be freed", _could_be_freed(usages))


def _lacks_space(stored: Stored) -> bool:
    status = stored.document["status"]
    told = [*status.get("conditions", ()), *status.get("backupStorageRefs", ())]
    return any(entry.get("reason") == Reason.NO_SPACE.value for entry in told)


def _usage(usages: "Usages", name: str) -> Iterator[str]:
    usage = usages.get(name)
    if usage is None:
        return
    total = usage.total
    for label, size in (("current", total.current), ("history", total.history), ("trash", total.trash)):
        yield _short(label, f"{quantity.format_bytes(size)} ({size} bytes)")
    for number, (namespace, used) in enumerate(usage.namespaces.items()):
        sizes = (("current", used.current), ("history", used.history), ("trash", used.trash))
        told = ", ".join(f"{label} {quantity.format_bytes(size)}" for label, size in sizes)
        yield _short("" if number else "by namespace", f"{namespace}: {told}")


def _could_be_freed(usages: "Usages") -> Iterator[str]:
    for name, usage in usages.items():
        if usage is None:
            continue
        for number, one in enumerate(usage.holders[:_MOST_HOLDERS]):
            yield _short("" if number else name, f"{quantity.format_bytes(one.size_bytes)}: {one.remedy}")
        if rest := sum(one.size_bytes for one in usage.holders[_MOST_HOLDERS:]):
            more = len(usage.holders) - _MOST_HOLDERS
            yield _short("", f"{quantity.format_bytes(rest)}: trash and older revisions of {more} more images")
        if bad := usage.quarantine.bytes:
            yield _short("" if usage.holders else name, f"{quantity.format_bytes(bad)}: {room.let_go(name)}")
        if not _frees(usage):
            yield _short(name, "nothing: all of it is served, or shared")


def _frees(usage: "Usage") -> bool:
    return bool(usage.holders or usage.quarantine.copies)


def _line(label: str, value: object, indent: str = "") -> str:
    head = f"{indent}{label}:" if label else ""
    return f"{head:<{_LABEL_WIDTH - 1}} {value}".rstrip()


def _section(title: str, body: Any) -> Iterator[str]:  # noqa: ANN401
    first = True
    for line in body:
        if first:
            yield f"{title}:"
            first = False
        yield f"  {line}"


def _when(text: str, now: datetime) -> str:
    moment = datetime.fromisoformat(text)
    if moment > now:
        return f"{text} (in {screen.age(now, moment)})"
    return f"{text} ({screen.age(moment, now)} ago)"


def _overrides(stored: Stored) -> Iterator[str]:
    if stored.suspend_override is not None:
        verb = "suspend" if stored.suspend_override else "resume"
        manifest = str(bool(stored.document["spec"].get("suspend"))).lower()
        yield f"suspend {str(stored.suspend_override).lower()}, by `goldmaster {verb}`; the manifest says {manifest}"
    token = stored.requested_at
    if token is not None:
        handled = stored.document["status"].get("lastHandledReconcileAt") == token
        yield f"reconcile requested at {token}, {'done' if handled else 'not taken up yet'}"


def _redacted_url(url: str) -> str:
    try:
        return SourceUrl.parse(url).redacted
    except errors.InvalidSpec:  # of a CRD of another version
        return "(not shown, as this version cannot tell what in it is secret)"


def _redacted(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec with URLs as the inventory shows them: a query may hold a signature."""
    shown = dict(spec)
    if "url" in shown:
        shown["url"] = _redacted_url(shown["url"])
    if "mirrors" in shown:
        shown["mirrors"] = [_redacted_url(mirror) for mirror in shown["mirrors"]]
    for name in shown.keys() & {"checksumFrom", "signature"}:
        shown[name] = _redacted(shown[name])
    return shown


def _tree(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            if item:
                yield f"{indent}{key}:"
                yield from _tree(item, f"{indent}  ")
        elif isinstance(item, list):
            yield _short(f"{indent}{key}", ", ".join(str(entry) for entry in item))
        else:
            yield _short(f"{indent}{key}", str(item).lower() if isinstance(item, bool) else str(item))


def _short(label: str, value: str) -> str:
    return f"{label + ':' * bool(label):<{_LABEL_WIDTH - 3}} {value}"


def _image_status(status: Mapping[str, Any], now: datetime) -> Iterator[str]:
    for label, name in (("phase", "phase"), ("status", "status"), ("uuid", "uuid"), ("format", "format")):
        if name in status:
            yield _short(label, status[name])
    for label, name in (
        ("virtual size", "size"),
        ("stored size", "actualSize"),
        ("total", "totalCapacity"),
        ("available", "availableCapacity"),
    ):
        if name in status:
            yield _short(label, f"{quantity.format_bytes(status[name])} ({status[name]} bytes)")
    if "images" in status:
        yield _short("images", str(status["images"]))
    if "quarantine" in status:
        held = status["quarantine"]
        size = quantity.format_bytes(held["bytes"])
        yield _short("quarantine", f"{held['copies']} damaged, {size}: see goldmaster quarantine list")
    if "lastScrub" in status:
        yield from _scrub(status["lastScrub"], now)
    current = status.get("current")
    if current:
        yield _short("sha256", current["sha256"])
        yield _short("md5", current["md5Sum"])
        for name, value in sorted(current["sourceDigest"].items()):
            yield _short(f"source {name}", value)
        yield _short("imported", f"{_when(current['importedAt'], now)} from {current['url']}")
        yield _short("proven by", current["proof"])
    yield from _source(status.get("source", {}), now)
    yield from _under_way(status, now)


def _source(source: Mapping[str, Any], now: datetime) -> Iterator[str]:
    for label, name in (
        ("served by", "servedBy"),
        ("mirror", "mirror"),
        ("etag", "etag"),
        ("last modified", "lastModified"),
    ):
        if name in source:
            yield _short(label, source[name])
    for one in source.get("skipped", ()):
        yield _short("skipped", f"{one['url']} ({one['reason']}): {one['message']}")
    if "fetchedBytes" in source:
        yield _short("fetched", _fetched(source["fetchedBytes"], source.get("length")))
    if "checkedAt" in source:
        yield _short("looked at", _when(source["checkedAt"], now))
    if "checkError" in source:
        yield _short("look failed", source["checkError"])
    if "seen" in source:
        yield _short("source has now", ", ".join(_version(source["seen"])))


def _fetched(fetched: int, length: int | None) -> str:
    """Say what a download cost; what was fetched in vain counts too, of sources that were skipped or begun anew."""
    size = quantity.format_bytes(fetched)
    if length is None:
        return size
    if fetched > length:
        return f"{size} in all, to have {quantity.format_bytes(length)}"
    return f"{size} of {quantity.format_bytes(length)}"


def _version(seen: Mapping[str, Any]) -> Iterator[str]:
    if "etag" in seen:
        yield f"ETag {seen['etag']}"
    if "lastModified" in seen:
        yield f"Last-Modified {seen['lastModified']}"
    if "length" in seen:
        yield f"{seen['length']} bytes"
    if "digest" in seen:
        yield str(seen["digest"])


def _scrub(scrub: Mapping[str, Any], now: datetime) -> Iterator[str]:
    why = f": {scrub['message']}" if "message" in scrub else ""
    yield _short("scrub", f"{scrub['state']}{why}, began {_when(scrub['startedAt'], now)}")
    size = quantity.format_bytes(scrub["bytes"])
    yield _short("", f"copies read: {scrub['copies']} ({size}), damaged: {scrub['damaged']}")
    if "finishedAt" in scrub:
        yield _short("scrubbed", _when(scrub["finishedAt"], now))


def _under_way(status: Mapping[str, Any], now: datetime) -> Iterator[str]:
    progress = status.get("progress")
    if progress:
        total = progress.get("totalBytes")
        of = f" of {quantity.format_bytes(total)} ({progress['percent']}%)" if total is not None else ""
        yield _short("progress", f"{quantity.format_bytes(progress['bytes'])}{of}")
    if "queuePosition" in status:
        yield _short("in the queue", f"place {status['queuePosition']}")
    if "attempts" in status:
        yield _short("failed tries", str(status["attempts"]))
    if "nextRetryAt" in status:
        yield _short("next try", _when(status["nextRetryAt"], now))


def _refs(refs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for ref in refs:
        reason = f" ({ref['reason']})" if "reason" in ref else ""
        yield _short(ref["backupStorageName"], f"{ref['status']}{reason}  {ref['installPath']}".rstrip())


def _conditions(conditions: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[str]:
    for condition in conditions:
        since = screen.age(datetime.fromisoformat(condition["lastTransitionTime"]), now)
        told = f"{condition['status']:<6} {condition['reason']}, for {since}: {condition['message']}"
        yield _short(condition["type"], told)
