"""Files are read below the allowed directories only, by no symlink, and as one version (security checklist 39)."""

import errno
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from controller import errors
from controller.adapters.backup.imagestore import ImageStore
from controller.adapters.sources.file import FileSource
from controller.model.url import SourceUrl
from controller.ports import FetchRequest
from tests.fakes.clock import FakeClock
from tests.fakes.fetching import NEVER, asking, drain, fetch
from tests.fakes.stored_bytes import put


@pytest.fixture
def room(tmp_path: Path) -> SimpleNamespace:
    """An allowed directory with an image, a secret outside of it, and a state directory within it."""
    allowed, state = tmp_path / "allowed", tmp_path / "allowed" / "state"
    (allowed / "deep" / "er").mkdir(parents=True)
    state.mkdir()
    (allowed / "image").write_bytes(b"image")
    (allowed / "deep" / "er" / "image").write_bytes(b"deep")
    (state / "state.db").write_bytes(b"state")
    (tmp_path / "secret").write_bytes(b"secret")
    clock = FakeClock(datetime.now(UTC) + timedelta(minutes=1))
    return SimpleNamespace(
        top=tmp_path, allowed=allowed, state=state, clock=clock, source=FileSource([allowed], clock, [state])
    )


def path_request(path: Path | str) -> FetchRequest:
    return asking(SourceUrl("file", "", None, str(path), ""))


def test_files_at_any_depth_are_read(room: SimpleNamespace) -> None:
    assert fetch(room.source, path_request(room.allowed / "image")) == b"image"
    assert fetch(room.source, path_request(room.allowed / "deep" / "er" / "image")) == b"deep"


def test_nothing_is_read_where_nothing_is_allowed(room: SimpleNamespace) -> None:
    with pytest.raises(errors.PolicyDenied, match="--allow-path opens nothing"):
        FileSource([], room.clock).open(path_request(room.allowed / "image"), NEVER)


@pytest.mark.parametrize("path", ["secret", "allowed", "allowed/../secret", "allowedx/image", "absent", "allowed/"])
def test_outside_is_denied_whether_or_not_it_exists(room: SimpleNamespace, path: str) -> None:
    """The same answer for a file that is there and one that is not: no oracle for what lies on this machine."""
    with pytest.raises(errors.PolicyDenied, match="--allow-path opens"):
        room.source.open(path_request(f"{room.top}/{path}"), NEVER)


@pytest.mark.parametrize("path", ["absent", "absent/image", "image/below", "deep/er/" + "x" * 300])
def test_what_is_not_there_is_not_found(room: SimpleNamespace, path: str) -> None:
    with pytest.raises(errors.SourceNotFound):
        room.source.open(path_request(room.allowed / path), NEVER)


@pytest.mark.parametrize(
    ("link", "target", "asked"),
    [
        ("link", "../secret", "link"),
        ("link", "image", "link"),
        ("link", "absent", "link"),
        ("folder", "..", "folder/secret"),
        ("folder", "deep", "folder/er/image"),
        ("deep/up", "../../secret", "deep/up"),
        ("loop", "loop", "loop"),
    ],
)
def test_no_symlink_below_the_root_is_followed_not_even_a_harmless_one(
    room: SimpleNamespace, link: str, target: str, asked: str
) -> None:
    (room.allowed / link).symlink_to(target)
    with pytest.raises(errors.PolicyDenied, match="symlink"):
        room.source.open(path_request(room.allowed / asked), NEVER)


def test_a_root_may_itself_be_a_symlink(room: SimpleNamespace) -> None:
    """Whoever starts the controller chose it."""
    (room.top / "alias").symlink_to(room.allowed)
    source = FileSource([room.top / "alias"], room.clock)
    assert fetch(source, path_request(room.top / "alias" / "image")) == b"image"


def test_a_root_that_is_not_there_holds_nothing(room: SimpleNamespace) -> None:
    with pytest.raises(errors.SourceNotFound):
        FileSource([room.top / "later"], room.clock).open(path_request(room.top / "later" / "image"), NEVER)


def test_a_component_swapped_for_a_symlink_after_the_look_is_not_followed(
    room: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look is for the message; the open itself refuses symlinks."""
    (room.allowed / "swapped").symlink_to("../secret")
    (room.allowed / "away").symlink_to("..")
    plain = os.stat(room.allowed / "image")

    def look(path: str, **_: object) -> os.stat_result:
        if path.endswith("goldmaster.json"):
            raise FileNotFoundError
        return plain

    monkeypatch.setattr(os, "stat", look)
    for path in ("swapped", "away/secret"):
        with pytest.raises((errors.PolicyDenied, errors.SourceNotFound)):
            FileSource([room.allowed], room.clock).open(path_request(room.allowed / path), NEVER)


def test_only_regular_files_are_read_and_opening_waits_for_nobody(room: SimpleNamespace) -> None:
    os.mkfifo(room.allowed / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(".", os.O_RDONLY)
        os.chdir(room.allowed)
        try:
            listener.bind("socket")
        finally:
            os.fchdir(here)
            os.close(here)
    for name in ("fifo", "socket", "deep"):
        with pytest.raises(errors.PolicyDenied, match="not a regular file"):
            room.source.open(path_request(room.allowed / name), NEVER)


def test_devices_and_files_made_up_by_the_kernel_are_denied(room: SimpleNamespace) -> None:
    source = FileSource([Path("/dev"), Path("/proc")], room.clock)
    for path in ("/dev/zero", "/dev/null", f"/proc/{os.getpid()}/environ", "/proc/self/environ", "/proc/version"):
        with pytest.raises(errors.PolicyDenied):
            source.open(path_request(path), NEVER)


def test_our_own_state_is_denied_under_every_name(room: SimpleNamespace) -> None:
    (room.top / "alias").symlink_to(room.state)
    sources = [room.source] + [
        FileSource([root], room.clock, [room.state]) for root in (room.state, room.top / "alias")
    ]
    paths = [room.state / "state.db", room.state / "state.db", room.top / "alias" / "state.db"]
    (room.state / "deeper").mkdir()
    sources.append(FileSource([room.state / "deeper"], room.clock, [room.state]))
    paths.append(room.state / "deeper" / "x")
    for source, path in zip(sources, paths, strict=True):
        with pytest.raises(errors.PolicyDenied, match="own state"):
            source.open(path_request(path), NEVER)


def test_a_state_directory_that_is_made_later_is_denied_too(room: SimpleNamespace) -> None:
    source = FileSource([room.allowed], room.clock, [room.allowed / "later"])
    (room.allowed / "later").mkdir()
    (room.allowed / "later" / "x").write_bytes(b"state")
    with pytest.raises(errors.PolicyDenied, match="own state"):
        source.open(path_request(room.allowed / "later" / "x"), NEVER)


def test_a_backup_storage_is_denied_from_above_from_within_and_by_every_name(room: SimpleNamespace) -> None:
    """Else whoever may write a manifest reads everybody's images."""
    path = room.allowed / "deep" / "store"
    store = ImageStore(str(path), storage_uuid="5" * 32, reserved_bytes=0, clock=room.clock)
    store.probe()
    digest = put(store, b"image" * 1000).sha256.hex
    held = path / "objects" / "sha256" / digest[:2] / digest
    assert held.is_file()
    (room.top / "alias").symlink_to(path / "objects")
    for root, asked in (
        (room.allowed, held),
        (room.allowed, path / "goldmaster.json"),
        (path, held),
        (held.parent, held),
        (room.top / "alias", room.top / "alias" / held.relative_to(path / "objects")),
    ):
        with pytest.raises(errors.PolicyDenied, match="lies inside a backup storage"):
            FileSource([root], room.clock).open(path_request(asked), NEVER)
    assert fetch(room.source, path_request(room.allowed / "deep" / "er" / "image")) == b"deep"


def test_only_a_file_marks_a_backup_storage(room: SimpleNamespace) -> None:
    (room.allowed / "goldmaster.json").mkdir()
    assert fetch(room.source, path_request(room.allowed / "image")) == b"image"


def test_the_innermost_allowed_directory_counts(room: SimpleNamespace) -> None:
    """An allowed directory may be a symlink in another allowed one."""
    (room.allowed / "more").symlink_to(room.top)
    source = FileSource([room.allowed, room.allowed / "more"], room.clock)
    assert fetch(source, path_request(room.allowed / "more" / "secret")) == b"secret"


def test_a_file_that_may_not_be_read_says_so(room: SimpleNamespace) -> None:
    (room.allowed / "image").chmod(0)
    me = os.geteuid()
    if me == 0:
        os.seteuid(65534)  # root may read everything
    try:
        with pytest.raises(errors.AuthenticationFailed):
            room.source.open(path_request(room.allowed / "image"), NEVER)
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "touch"])
def test_a_file_that_changes_while_it_is_read_is_no_image(room: SimpleNamespace, change: str) -> None:
    path = room.allowed / "image"
    path.write_bytes(b"x" * 10_000)
    body = room.source.open(path_request(path), NEVER)
    assert body.readinto(memoryview(bytearray(100))) == 100
    with path.open("r+b") as file:
        match change:
            case "grow":
                file.seek(0, os.SEEK_END)
                file.write(b"y")
            case "shrink":
                file.truncate(5_000)
            case "rewrite":
                file.write(b"z")
            case "touch":
                os.utime(path, (1, 1))
    with pytest.raises(errors.SourceUnreachable, match="changed while it was read"):
        drain(body)
    assert not body.complete


def test_a_replaced_file_is_read_to_its_end_as_it_was(room: SimpleNamespace) -> None:
    """As a package manager replaces files: the old one lives on until it is closed, but its ctime moves."""
    path = room.allowed / "image"
    body = room.source.open(path_request(path), NEVER)
    (room.allowed / "new").write_bytes(b"other")
    (room.allowed / "new").rename(path)
    with pytest.raises(errors.SourceUnreachable):
        drain(body)
    assert fetch(room.source, path_request(path)) == b"other"


def test_a_file_that_changed_a_moment_ago_has_no_strong_validator(room: SimpleNamespace) -> None:
    """Within a tick of the kernel's clock two writes have the same times."""
    path = room.allowed / "image"
    request = path_request(path)
    changed = datetime.fromtimestamp(path.stat().st_ctime, UTC)
    for age, strong in ((0.5, False), (1.9, False), (2.1, True), (3600, True), (-3600, False)):
        body = FileSource([room.allowed], FakeClock(changed + timedelta(seconds=age))).open(request, NEVER)
        body.close()
        assert body.validator.strong is strong, age
        assert body.validator.last_modified


def test_whole_buffers_are_filled_and_the_last_one_is_short(room: SimpleNamespace) -> None:
    data = os.urandom(3_000_001)
    (room.allowed / "large").write_bytes(data)
    body = room.source.open(path_request(room.allowed / "large"), NEVER)
    view = memoryview(bytearray(2**21))
    assert body.readinto(view) == 2**21
    assert bytes(view) == data[: 2**21]
    assert body.readinto(view) == len(data) - 2**21
    assert body.readinto(view) == 0
    assert body.complete
    body.close()


def test_no_descriptor_is_left_open(room: SimpleNamespace) -> None:
    (room.allowed / "link").symlink_to("image")
    before = set(os.listdir("/proc/self/fd"))
    for name in ("image", "deep/er/image", "link", "absent", "deep", "state/state.db"):
        try:
            fetch(room.source, path_request(room.allowed / name))
        except errors.GoldmasterError:
            continue
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_stop_ends_a_read(room: SimpleNamespace) -> None:
    stop = threading.Event()
    body = room.source.open(path_request(room.allowed / "image"), stop)
    stop.set()
    with pytest.raises(errors.Interrupted):
        body.readinto(memoryview(bytearray(10)))
    body.close()


def test_an_io_error_is_tried_again_later(room: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    body = room.source.open(path_request(room.allowed / "image"), NEVER)
    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(errors.SourceUnreachable, match="Input/output error"):
        body.readinto(memoryview(bytearray(10)))
    body.close()


def test_what_was_read_before_a_stop_is_delivered(room: SimpleNamespace) -> None:
    """The token is looked at between pieces; the bytes before it are good."""
    (room.allowed / "large").write_bytes(bytes(3 * 2**20))
    looks = iter([False, False, True, True])
    stop = SimpleNamespace(is_set=lambda: next(looks))
    body = room.source.open(path_request(room.allowed / "large"), stop)
    buffer = memoryview(bytearray(3 * 2**20))
    assert body.readinto(buffer) == 2**20
    with pytest.raises(errors.Interrupted):
        body.readinto(buffer)
    body.close()
