"""The objects of a state directory: what the manifests asked for last, and what is known about each.

Implements `ports.Resources` for the instance that reconciles, and what the other verbs need beside it: reading, and
leaving requests. Each method is one transaction; a reader never sees half of a change.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any, Self

from controller import errors
from controller.gitops import desired, rows, tree
from controller.gitops.followed import Followed, Verified
from controller.gitops.namespaces import Namespaces
from controller.gitops.state_file import StateFile
from controller.model import conditions, manifest, rules
from controller.model.backup_storage import BackupStorageStatus
from controller.model.conditions import ConditionType
from controller.model.fields import format_time, parse_time
from controller.model.image import ImageStatus
from controller.model.resource import REQUESTED_AT, BackupStorage, Image, Key, Kind, Meta
from controller.model.selector import namespace_labels
from controller.model.stored import Stored, Verb
from controller.plan import source
from controller.ports import Clock

_GET = "SELECT * FROM resources WHERE kind = ? AND namespace = ? AND name = ?"
_LIST = """SELECT * FROM resources WHERE kind = ? AND namespace = coalesce(?, namespace) AND name = coalesce(?, name)
           ORDER BY namespace, name"""
_WAITING = """SELECT * FROM resources WHERE kind = ? AND (status LIKE '%"Stalled"%' OR status LIKE '%"nextRetryAt"%')
              ORDER BY namespace, name"""
_KEYS = "SELECT kind, namespace, name FROM resources WHERE kind = ? ORDER BY namespace, name"
_COMPARE = """SELECT kind, namespace, name, root, file, line, deleting, spec, labels, annotations, revision
              FROM resources"""
_INSERT = """INSERT INTO resources (kind, namespace, name, uid, generation, version, root, file, line, created,
             spec, labels, annotations, status, requested_at, revision)
             VALUES (?, ?, ?, ?, 1, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# a changed annotation is the newest request; a changed spec.suspend is newer than any suspend or resume
_UPDATE = """UPDATE resources SET root = ?, file = ?, line = ?, generation = generation + ?, version = version + ?,
             requested_at = CASE WHEN ? IS NOT json_extract(annotations, ?) THEN coalesce(?, requested_at)
                            ELSE requested_at END,
             suspend_override = CASE WHEN ? IS json_extract(spec, '$.suspend') THEN suspend_override END,
             spec = ?, labels = ?, annotations = ?, revision = ?, deleting = NULL
             WHERE kind = ? AND namespace = ? AND name = ?"""
_DELETE = "UPDATE resources SET deleting = ?, version = version + 1 WHERE kind = ? AND namespace = ? AND name = ?"
_RELEASE = "DELETE FROM resources WHERE kind = ? AND namespace = ? AND name = ? AND uid = ? AND deleting IS NOT NULL"
_STATUS = """UPDATE resources SET status = ?, version = version + 1
             WHERE kind = ? AND namespace = ? AND name = ? AND uid = ? AND version = ?"""
_REQUEST = "INSERT INTO requests (kind, namespace, name, verb, token, at) VALUES (?, ?, ?, ?, '', ?)"
_ASK_AGAIN = (
    "UPDATE resources SET requested_at = ?, version = version + 1 WHERE kind = ? AND namespace = ? AND name = ?"
)
_OVERRIDE = """UPDATE resources SET suspend_override = ?, version = version + 1
               WHERE kind = ? AND namespace = ? AND name = ?"""

_RECENT = "recent_deletions"
_FOLLOWED = "followed"
_REMEMBER = "INSERT OR REPLACE INTO meta VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asked for, for the instance to take up."""

    key: Key
    verb: Verb
    token: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Applied:
    """What a new look at the manifests changed. `keys` are the objects to look at again."""

    created: tuple[Key, ...] = ()
    updated: tuple[Key, ...] = ()
    deleted: tuple[Key, ...] = ()
    renamed: tuple[Key, ...] = ()
    """Those that only come from another commit now."""
    held_back: tuple[desired.HeldBack, ...] = ()
    relabelled: tuple[Key, ...] = ()
    """Images whose namespace has other labels now: they may use other storages."""
    problems: tuple[tree.Problem, ...] = ()
    """Those that only a comparison finds; the trees carry their own."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """Everything that changed."""
        changed = self.created + self.updated + self.deleted + self.renamed + self.relabelled
        return tuple(dict.fromkeys(changed))


class State:
    """Thread-safe. `clock` dates what is created here."""

    def __init__(self, file: StateFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        with file.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'instance_id'").fetchone()
            self._namespaces = Namespaces.load(connection)
        self.instance_id = uuid.UUID(row["value"])
        """Random, made with the state: objects without spec.uuid derive theirs from it."""

    @classmethod
    def open(cls, state_dir: Path, clock: Clock) -> Self:
        """Open for writing, creating what is missing. Raises StateBroken, StateLocked."""
        return cls(StateFile.open(state_dir), clock)

    @classmethod
    def open_reading(cls, state_dir: Path, clock: Clock) -> Self:
        """Open beside a running instance; every write raises StateBroken. Raises NotFound where no state is."""
        return cls(StateFile.open_reading(state_dir), clock)

    @classmethod
    def rehearse(cls, state_dir: Path, clock: Clock) -> Self:
        """Open a copy in memory of what is there (or of nothing): changes to it reach no disk. Raises StateBroken."""
        return cls(StateFile.copy_of(state_dir), clock)

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- ports.Resources ------------------------------------------------------------------------------------------

    def image(self, key: Key) -> Image | None:
        """Return the object, None where it is gone."""
        row = self._row(key)
        return None if row is None else rows.image(row)

    def storage(self, key: Key) -> BackupStorage | None:
        """Return the object, None where it is gone."""
        row = self._row(key)
        return None if row is None else rows.storage(row)

    def keys(self, kind: Kind) -> list[Key]:
        """Return the keys of all objects of a kind, sorted."""
        with self._file.reading() as connection:
            found = connection.execute(_KEYS, (kind.value,)).fetchall()
        return [rows.key(row) for row in found]

    def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        """Return the labels of a namespace; always known, as a namespace needs no manifest."""
        return namespace_labels(namespace, self._namespaces.labels(namespace))

    def write_image_status(self, image: Image, status: ImageStatus) -> Image:
        """Replace the status if the object is still at `image.meta.version`. Raises Conflict."""
        meta = self._write_status(image.meta, manifest.image_status_to_dict(status))
        return replace(image, meta=meta, status=status)

    def write_storage_status(self, storage: BackupStorage, status: BackupStorageStatus) -> BackupStorage:
        """Do the same for a BackupStorage."""
        meta = self._write_status(storage.meta, manifest.storage_status_to_dict(status))
        return replace(storage, meta=meta, status=status)

    def hold(self, image: Image) -> Image:
        """Objects of the state are never gone before `release`: nothing to do."""
        return image

    def release(self, key: Key, uid: str) -> None:
        """Remove an object that is being deleted; one that is wanted again, or another of that name, stays."""
        with self._file.writing() as connection:
            connection.execute(_RELEASE, (*rows.columns(key), uid))

    # --- what the manifests say ------------------------------------------------------------------------------------

    def apply(self, trees: Sequence[tree.Tree], guards: desired.Guards) -> Applied:
        """Take the trees as what is wanted from their roots; objects of other roots stay as they are.

        An object that is gone from its root begins to be deleted unless a guard holds it back; one that is wanted again
        while being deleted is kept, with its uid.
        """
        with self._file.writing() as connection:
            known = {rows.key(row): rows.known(row) for row in connection.execute(_COMPARE)}
            recent = _recent_deletions(connection, self._clock.now())
            counts: Counter[str] = Counter()
            for root, _, count in recent:
                counts[root] += count
            decision = desired.decide(known, trees, guards, transition=_transition, exists=_exists, recent=counts)
            now = format_time(self._clock.now())
            for upsert in decision.upserts:
                self._upsert(connection, upsert, now)
            connection.executemany(_DELETE, [(now, *rows.columns(key)) for key in decision.deletions])
            if decision.deletions and not guards.confirmed:  # what a person confirmed uses nothing up
                gone = Counter(known[key].root for key in decision.deletions)
                recent += [(root, now, count) for root, count in gone.items()]
                connection.execute(_REMEMBER, (_RECENT, json.dumps(recent)))
            relabelled = self._relabel(connection, trees)
        return Applied(
            created=tuple(upsert.wanted.key for upsert in decision.upserts if upsert.new),
            updated=tuple(upsert.wanted.key for upsert in decision.upserts if upsert.touched and not upsert.new),
            deleted=tuple(decision.deletions),
            renamed=tuple(upsert.wanted.key for upsert in decision.upserts if upsert.renamed and not upsert.touched),
            held_back=tuple(decision.held_back),
            relabelled=tuple(key for key in known if key.kind is Kind.IMAGE and key.namespace in relabelled),
            problems=tuple(decision.problems),
        )

    def _relabel(self, connection: Connection, trees: Sequence[tree.Tree]) -> frozenset[str]:
        """Take the labels of the trees' namespaces; return which of them changed."""
        before = self._namespaces
        after = before.after(trees)
        if changed := after.changed(before):
            after.save(connection)
        self._namespaces = after
        return changed

    def problems_with(self, trees: Sequence[tree.Tree], guards: desired.Guards) -> tuple[tree.Problem, ...]:
        """Return what `apply` would find wrong between the trees, and between them and what is in force. No change."""
        with self._file.reading() as connection:
            known = {rows.key(row): rows.known(row) for row in connection.execute(_COMPARE)}
        return tuple(desired.decide(known, trees, guards, transition=_transition, exists=_exists).problems)

    def followed(self) -> Followed | None:
        """Return how the repository that is followed stood last; None where none is."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (_FOLLOWED,)).fetchone()
        return None if row is None else Followed.read(row["value"])

    def write_followed(self, followed: Followed | None) -> None:
        """Keep how it stands; None: no repository is followed any more."""
        with self._file.writing() as connection:
            if followed is None:
                connection.execute("DELETE FROM meta WHERE name = ?", (_FOLLOWED,))
            else:
                connection.execute(_REMEMBER, (_FOLLOWED, followed.text))

    def verified(self, url: str, branch: str | None) -> Verified | None:
        """Return the last commit of a branch whose signature was good; None where none was judged yet."""
        with self._file.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (_verified(url, branch),)).fetchone()
        return None if row is None else Verified.read(row["value"])

    def write_verified(self, url: str, branch: str | None, verified: Verified) -> None:
        """Keep it, whatever is followed in between: nothing else could find it again."""
        with self._file.writing(durable=True) as connection:
            connection.execute(_REMEMBER, (_verified(url, branch), verified.text))

    def _upsert(self, connection: Connection, upsert: desired.Upsert, now: str) -> None:
        wanted = upsert.wanted
        token = wanted.annotations.get(REQUESTED_AT)
        place = (upsert.root, wanted.file, wanted.line)
        if upsert.new:
            # the uuid stands from the first moment, so that a claim on a storage can always be told whose it is
            status = {"uuid": wanted.spec.get("uuid") or source.derive_uuid(self.instance_id, wanted.key)}
            texts = (wanted.spec_json, wanted.labels_json, wanted.annotations_json, tree.canonical(status))
            connection.execute(
                _INSERT, (*rows.columns(wanted.key), str(uuid.uuid4()), *place, now, *texts, token, upsert.revision)
            )
            return
        connection.execute(
            _UPDATE,
            (
                *place,
                int(upsert.spec_changed),
                int(upsert.touched or upsert.renamed),
                token,
                f'$."{REQUESTED_AT}"',
                token,
                wanted.spec.get("suspend"),
                wanted.spec_json,
                wanted.labels_json,
                wanted.annotations_json,
                upsert.revision,
                *rows.columns(wanted.key),
            ),
        )

    # --- what people ask -------------------------------------------------------------------------------------------

    def ask(self, key: Key, verb: Verb) -> Request:
        """Leave a request for the instance that runs, or the next one. Raises NotFound where there is none."""
        (request,) = self.ask_all([key], verb)
        return request

    def ask_all(self, keys: Sequence[Key], verb: Verb) -> list[Request]:
        """Leave a request for each, or for none if one does not exist. Raises NotFound."""
        at = self._clock.now()
        with self._file.writing(durable=True) as connection:
            return [_ask(connection, key, verb, at) for key in keys]

    def take_requests(self) -> list[Request]:
        """Return what was asked since the last call, oldest first. The objects carry what was said already."""
        with self._file.reading() as connection:
            if connection.execute("SELECT 1 FROM requests LIMIT 1").fetchone() is None:
                return []
        with self._file.writing() as connection:
            found = connection.execute("SELECT * FROM requests ORDER BY id").fetchall()
            connection.execute("DELETE FROM requests WHERE id <= ?", (found[-1]["id"] if found else 0,))
        return [Request(rows.key(row), Verb(row["verb"]), row["token"], parse_time(row["at"])) for row in found]

    # --- reading for people ----------------------------------------------------------------------------------------

    def stored(self, kind: Kind, namespace: str | None = None, name: str | None = None) -> list[Stored]:
        """Return objects as documents, by namespace and name; None means all."""
        return [rows.stored(row) for row in self._select(kind, namespace, name)]

    def images(self, namespace: str | None = None, name: str | None = None) -> list[Image]:
        """Return Images, by namespace and name; None means all."""
        return [rows.image(row) for row in self._select(Kind.IMAGE, namespace, name)]

    def waiting(self) -> list[Image]:
        """Return the Images that are stalled or wait for their next try. Parses no others: of 10,000 few are."""
        with self._file.reading() as connection:
            found = connection.execute(_WAITING, (Kind.IMAGE.value,)).fetchall()
        images = [rows.image(row) for row in found]
        return [image for image in images if image.status.next_retry_at or _stalled(image)]

    def storages(self) -> list[BackupStorage]:
        """Return all BackupStorages, by name."""
        return [rows.storage(row) for row in self._select(Kind.BACKUP_STORAGE, None, None)]

    # --- below all that ---------------------------------------------------------------------------------------------

    def _row(self, key: Key) -> Row | None:
        with self._file.reading() as connection:
            row: Row | None = connection.execute(_GET, rows.columns(key)).fetchone()
        return row

    def _select(self, kind: Kind, namespace: str | None, name: str | None) -> list[Row]:
        with self._file.reading() as connection:
            return connection.execute(_LIST, (kind.value, namespace, name)).fetchall()

    def _write_status(self, meta: Meta, status: Mapping[str, Any]) -> Meta:
        values = (tree.canonical(status), *rows.columns(meta.key), meta.uid, int(meta.version))
        with self._file.writing() as connection:
            if connection.execute(_STATUS, values).rowcount != 1:
                raise errors.Conflict(f"{meta.key} was changed meanwhile")
        return replace(meta, version=str(int(meta.version) + 1))


def _verified(url: str, branch: str | None) -> str:
    return f"verified {url} {branch or ''}"


def _ask(connection: Connection, key: Key, verb: Verb, at: datetime) -> Request:
    row = connection.execute(_GET, rows.columns(key)).fetchone()
    if row is None:
        raise errors.NotFound(f"there is no {key}")
    serial = connection.execute(_REQUEST, (*rows.columns(key), verb.value, format_time(at))).lastrowid
    token = f"{format_time(at)}#{serial}"
    connection.execute("UPDATE requests SET token = ? WHERE id = ?", (token, serial))
    if verb is Verb.RECONCILE:
        connection.execute(_ASK_AGAIN, (token, *rows.columns(key)))
    else:
        # an override stands only where it differs from the manifest
        suspend, in_manifest = verb is Verb.SUSPEND, bool(json.loads(row["spec"]).get("suspend"))
        override = None if suspend == in_manifest else int(suspend)
        connection.execute(_OVERRIDE, (override, *rows.columns(key)))
    return Request(key, verb, token, at)


def _stalled(image: Image) -> bool:
    return conditions.is_true(image.status.conditions, ConditionType.STALLED)


def _exists(file: str) -> bool:
    return Path(file).exists()


def _transition(key: Key, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    found = rules.problems(key.kind, {"spec": new}, {"spec": old})
    return [(problem.path, problem.message) for problem in found]


def _recent_deletions(connection: Connection, now: datetime) -> list[tuple[str, str, int]]:
    """Return (root, time, how many) of the deletions that still count against what may go at once."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (_RECENT,)).fetchone()
    found = json.loads(row["value"]) if row else []
    return [(root, at, count) for root, at, count in found if now - datetime.fromisoformat(at) < desired.WINDOW]
