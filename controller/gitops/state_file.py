"""The SQLite file under the state directory: opening, transactions, the path from every older layout to this one.

Write-ahead log: readers never wait for the writer. `synchronous=NORMAL`: a power cut may take the last commits but
never damages the file, and what those held is found again by looking at storages and manifests. What could not be found
again (the instance id, a request of a person) is committed with `synchronous=FULL`.
"""

import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from controller import errors

FILE_NAME = "goldmaster.db"
BUSY_TIMEOUT_S = 10.0
"""How long to wait for another process's write transaction; ours take milliseconds."""
_APPLICATION_ID = 0x474D5354  # "GMST": `file goldmaster.db` and we tell a foreign SQLite file from ours by it


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    connection.execute("INSERT INTO meta VALUES ('instance_id', ?)", (str(uuid.uuid4()),))
    connection.execute(
        """CREATE TABLE resources (
            kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
            uid TEXT NOT NULL UNIQUE,
            generation INTEGER NOT NULL,   -- counts changes of spec
            version INTEGER NOT NULL,      -- counts writes
            root TEXT NOT NULL,            -- the PATH whose tree holds the manifest
            file TEXT NOT NULL, line INTEGER NOT NULL,  -- where it stands there
            created TEXT NOT NULL,         -- RFC 3339
            deleting TEXT,                 -- since when; NULL: not being deleted
            labels TEXT NOT NULL, annotations TEXT NOT NULL, spec TEXT NOT NULL, status TEXT NOT NULL,  -- JSON
            suspend_override INTEGER,      -- what a request says over the manifest; NULL: nobody asked
            requested_at TEXT,             -- token of the newest request to look again
            PRIMARY KEY (kind, namespace, name))"""
    )
    connection.execute(
        """CREATE TABLE requests (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
            verb TEXT NOT NULL, token TEXT NOT NULL, at TEXT NOT NULL)"""
    )


def _add_revision(connection: sqlite3.Connection) -> None:
    """The commit that the object was last taken from; NULL: it comes from no repository."""
    connection.execute("ALTER TABLE resources ADD COLUMN revision TEXT")


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _add_revision)
"""Step N brings a file of schema version N to N+1; each runs once, in one transaction with the others. Never edited
after a release: a change of layout is a new step."""


class StateFile:
    """One connection, shared by the threads of this process one at a time. Foreign errors come out as ours."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls, state_dir: Path, migrations: tuple[Callable[[sqlite3.Connection], None], ...] = MIGRATIONS
    ) -> "StateFile":
        """Open for writing; create what is missing (0600) and bring an older file up to date.

        Raises:
            StateBroken: damaged, not ours, of a newer version, or the directory cannot be written.

        """
        path = state_dir / FILE_NAME
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise errors.StateBroken(f"cannot create the state directory {state_dir}: {exc.strerror}") from exc
        _make_private(path)
        with translated(path):
            connection = _connect(f"{path.absolute().as_uri()}?mode=rwc")
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                _migrate(connection, path, migrations)
                connection.execute("PRAGMA synchronous=NORMAL")
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    @classmethod
    def open_reading(cls, state_dir: Path) -> "StateFile":
        """Open beside a running instance; never changes or creates anything.

        Raises:
            NotFound: there is no state here yet. StateBroken: as `open`, or of an older version.

        """
        path = state_dir / FILE_NAME
        if not path.is_file():
            raise errors.NotFound(f"there is no state in {state_dir} yet; `goldmaster apply` or `run` makes it")
        with translated(path):
            connection = _connect_reading(path)
            try:
                version = _version(connection, path)
            except BaseException:
                connection.close()
                raise
            if version != len(MIGRATIONS):
                connection.close()
                raise errors.StateBroken(
                    f"{path} has schema {version or 'none'}, this version reads {len(MIGRATIONS)}; "
                    "`goldmaster apply` or `run` brings it up to date"
                )
        return cls(path, connection)

    @classmethod
    def copy_of(cls, state_dir: Path) -> "StateFile":
        """Return a copy in memory of the state that is there, or a fresh one: nothing done to it reaches the disk."""
        connection = _connect("file::memory:")
        path = state_dir / FILE_NAME
        with translated(path):
            if path.is_file():
                original = _connect_reading(path)
                try:
                    original.backup(connection)
                finally:
                    original.close()
            _migrate(connection, path, MIGRATIONS)
        return cls(path, connection)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to the caller alone."""
        with self._lock, translated(self.path):
            yield self._connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Give the connection inside one write transaction, committed at the end, undone by any exception.

        `durable`: on disk, not only safe from tearing, once this returns.
        """
        with self._lock, translated(self.path):
            connection = self._connection
            if durable:
                connection.execute("PRAGMA synchronous=FULL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous=NORMAL")

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        with self._lock:
            self._connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(exc, path) from exc


def _translate(exc: sqlite3.Error, path: Path) -> errors.GoldmasterError:
    code = getattr(exc, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return errors.StateLocked(
            f"{path} is busy: another process has been writing for {BUSY_TIMEOUT_S:g} s; try again"
        )
    if primary == sqlite3.SQLITE_FULL:
        return errors.NoSpace(f"no space left for {path}")
    if primary in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return errors.StateBroken(f"cannot open {path}: {exc}; check who may read and write it")
    return errors.StateBroken(
        f"{path} is damaged or not a state of Goldmaster: {exc}; restore it, or move it away to start anew "
        "(stored images are found again, their uuids are not)"
    )


def _make_private(path: Path) -> None:
    """See that only its owner reads the file, whoever may look into the directory; SQLite makes -wal and -shm alike.

    A file that is there is not opened for it: closing any descriptor of it drops the locks that SQLite holds on it for
    other connections of this process.
    """
    try:
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            with suppress(FileNotFoundError):
                mode = part.stat().st_mode
                if stat.S_ISREG(mode) and mode & 0o177:
                    part.chmod(0o600)
    except OSError as exc:
        raise errors.StateBroken(f"cannot open {path}: {exc.strerror}; check who may read and write it") from exc


def _connect(uri: str) -> sqlite3.Connection:
    # autocommit: transactions are begun by hand, so that each is IMMEDIATE and none is left open by a SELECT
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _connect_reading(path: Path) -> sqlite3.Connection:
    """Open read-only; as immutable where the write-ahead log is at rest and its index cannot be made by this user."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = _connect(uri)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError as exc:
        connection.close()
        at_rest = not path.with_name(path.name + "-wal").exists()
        if exc.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} or not at_rest:
            raise
        connection = _connect(f"{uri}&immutable=1")
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version, 0 of an empty file. Raises StateBroken where the file is not ours, or newer."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        return 0
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise errors.StateBroken(f"{path} is an SQLite file, but not a state of Goldmaster")
    return int(connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()[0])


def _migrate(
    connection: sqlite3.Connection, path: Path, migrations: tuple[Callable[[sqlite3.Connection], None], ...]
) -> None:
    if _current(connection, path, len(migrations)):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # asked again under the lock: another process may have done it meanwhile
        if not _current(connection, path, len(migrations)):
            for step in migrations[_version(connection, path) :]:
                step(connection)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('schema_version', ?)", (str(len(migrations)),))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _current(connection: sqlite3.Connection, path: Path, wanted: int) -> bool:
    version = _version(connection, path)
    if version > wanted:
        raise errors.StateBroken(
            f"{path} was written by a newer version of Goldmaster (schema {version}, this one knows {wanted}); "
            "use that version, or another state directory"
        )
    return version == wanted
