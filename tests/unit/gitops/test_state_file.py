"""The SQLite file: schema versions, damage, foreign files, other users, other writers."""

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from controller import errors
from controller.gitops import state_file
from controller.gitops.state_file import FILE_NAME, MIGRATIONS, StateFile

VERSION_1 = Path(__file__).parents[2] / "data" / "state" / "v1.sql"


def version_1(state_dir: Path) -> None:
    """Make a state as the first release did."""
    state_dir.mkdir(exist_ok=True)
    with sqlite3.connect(state_dir / FILE_NAME) as connection:
        connection.executescript(VERSION_1.read_text())
    connection.close()


def test_a_state_of_the_first_version_opens_and_keeps_its_instance(tmp_path: Path) -> None:
    version_1(tmp_path)
    file = StateFile.open(tmp_path)
    with file.reading() as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        (row,) = connection.execute("SELECT * FROM resources").fetchall()
    file.close()
    assert meta == {"instance_id": "6e0b6a3c-5a53-4f0e-9a5c-3f5f0f9f2a11", "schema_version": str(len(MIGRATIONS))}
    assert row["name"] == "debian"


def test_the_first_step_makes_what_the_first_release_made(tmp_path: Path) -> None:
    """A released step is never edited: its tables are those of the dump."""
    version_1(tmp_path / "old")
    StateFile.open(tmp_path / "new", MIGRATIONS[:1]).close()
    shapes = []
    for name in ("old", "new"):
        connection = sqlite3.connect(tmp_path / name / FILE_NAME)
        tables = ("meta", "resources", "requests")
        shapes.append({table: connection.execute(f"PRAGMA table_info({table})").fetchall() for table in tables})
        connection.close()
    assert shapes[0] == shapes[1]


def test_later_steps_run_once_and_in_order(tmp_path: Path) -> None:
    version_1(tmp_path)
    ran = []
    steps = (*MIGRATIONS, lambda _: ran.append(2), lambda _: ran.append(3))
    for _ in range(2):
        StateFile.open(tmp_path, steps).close()
    assert ran == [2, 3]


def test_a_step_that_fails_leaves_the_old_version(tmp_path: Path) -> None:
    version_1(tmp_path)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half_done (a)")
        connection.execute("not sql")

    with pytest.raises(errors.StateBroken):
        StateFile.open(tmp_path, (*MIGRATIONS, fail))
    file = StateFile.open(tmp_path)
    with file.reading() as connection:
        assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'half_done'").fetchall() == []
    file.close()


def test_a_newer_schema_is_refused_untouched(tmp_path: Path) -> None:
    StateFile.open(tmp_path, (*MIGRATIONS, lambda _: None)).close()
    for opening in (StateFile.open, StateFile.open_reading):
        with pytest.raises(errors.StateBroken, match=r"newer version|reads"):
            opening(tmp_path)


def test_an_older_schema_is_not_read_but_said_how_to_bring_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    StateFile.open(tmp_path).close()
    monkeypatch.setattr(state_file, "MIGRATIONS", (*MIGRATIONS, lambda _: None))
    with pytest.raises(errors.StateBroken, match="brings it up to date"):
        StateFile.open_reading(tmp_path)


def test_damage_is_said(tmp_path: Path) -> None:
    StateFile.open(tmp_path).close()
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[100:] = os.urandom(len(data) - 100)
    path.write_bytes(data)
    for opening in (StateFile.open, StateFile.open_reading):
        with pytest.raises(errors.StateBroken, match="damaged"):
            opening(tmp_path)


@pytest.mark.parametrize(
    "content", [b"this is not a database, it is prose about one", b"SQLite format 3\0" + bytes(84)]
)
def test_what_is_no_database_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(errors.StateBroken):
        StateFile.open(tmp_path)


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    for opening in (StateFile.open, StateFile.open_reading):
        with pytest.raises(errors.StateBroken, match="not a state of Goldmaster"):
            opening(tmp_path)


def test_no_state_to_read_is_not_found_and_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(errors.NotFound, match="goldmaster apply"):
        StateFile.open_reading(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StateBroken, match="cannot create"):
        StateFile.open(tmp_path / "file" / "state")


def test_the_state_directory_is_private(tmp_path: Path) -> None:
    StateFile.open(tmp_path / "new").close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_failed_transaction_is_undone(tmp_path: Path) -> None:
    file = StateFile.open(tmp_path)

    def fail() -> None:
        with file.writing() as connection:
            connection.execute("INSERT INTO meta VALUES ('a', 'b')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with file.writing(durable=True) as connection:
        assert connection.execute("SELECT * FROM meta WHERE name = 'a'").fetchall() == []
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    with file.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] == 1
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    file.close()
    file.close()


def test_another_process_that_writes_too_long_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "BUSY_TIMEOUT_S", 0.01)
    file, other = StateFile.open(tmp_path), StateFile.open(tmp_path)
    with other.writing(), pytest.raises(errors.StateLocked, match="busy"), file.writing():
        pass
    with file.writing():
        pass
    file.close()
    other.close()


def test_threads_write_one_at_a_time(tmp_path: Path) -> None:
    file = StateFile.open(tmp_path)
    with file.writing() as connection:
        connection.execute("INSERT INTO meta VALUES ('count', '0')")

    def count() -> None:
        for _ in range(20):
            with file.writing() as mine:
                value = int(mine.execute("SELECT value FROM meta WHERE name = 'count'").fetchone()[0])
                mine.execute("UPDATE meta SET value = ? WHERE name = 'count'", (str(value + 1),))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with file.reading() as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'count'").fetchone()[0] == "80"
    file.close()


@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [
        (sqlite3.SQLITE_BUSY, errors.StateLocked, "busy"),
        (sqlite3.SQLITE_FULL, errors.NoSpace, "no space"),
        (sqlite3.SQLITE_CANTOPEN, errors.StateBroken, "who may read"),
        (sqlite3.SQLITE_READONLY, errors.StateBroken, "who may read"),
        (sqlite3.SQLITE_CORRUPT, errors.StateBroken, "damaged"),
        (sqlite3.SQLITE_IOERR_READ, errors.StateBroken, "damaged"),
        (None, errors.StateBroken, "damaged"),
    ],
)
def test_every_error_of_sqlite_is_one_of_ours(code: int | None, expected: type[Exception], message: str) -> None:
    error = sqlite3.OperationalError("theirs")
    if code is not None:
        error.sqlite_errorcode = code
    with pytest.raises(expected, match=message), state_file.translated(Path("/state/db")):
        raise error


def modes(state_dir: Path) -> dict[str, int]:
    return {part.name: stat.S_IMODE(part.stat().st_mode) for part in state_dir.glob(FILE_NAME + "*")}


PRIVATE = {FILE_NAME: 0o600, f"{FILE_NAME}-wal": 0o600, f"{FILE_NAME}-shm": 0o600}


def test_nobody_else_reads_the_state_in_a_directory_that_everybody_enters(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        file = StateFile.open(tmp_path)
        assert modes(tmp_path) == PRIVATE
        file.close()
    finally:
        os.umask(before)


def test_a_state_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    """All three files, while another connection has them open; that one goes on."""
    first = StateFile.open(tmp_path)
    for part in tmp_path.glob(FILE_NAME + "*"):
        part.chmod(0o644)
    second = StateFile.open(tmp_path)
    assert modes(tmp_path) == PRIVATE
    with first.writing() as connection:
        connection.execute("INSERT INTO meta VALUES ('note', 'x')")
    with second.reading() as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'note'").fetchone()[0] == "x"
    second.close()
    first.close()
