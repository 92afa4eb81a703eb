"""Following a repository: what a push, a revert, a slip and a lost server do to images. Real git, state and storage."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller import errors, wiring
from controller.cli import main
from controller.gitops.following import Following
from controller.gitops.loop import Standalone
from controller.gitops.tree import Problem
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.git_url import GitUrl
from controller.model.resource import Image, Key, Kind
from controller.model.stored import Verb
from controller.settings import GitSettings, Settings, SourceSettings, StandaloneSettings
from tests.fakes.git_repository import GitRepository
from tests.integration.house import WAIT_S, running, until

pytestmark = pytest.mark.needs_git
NEVER = threading.Event()


class House:
    """A repository, a directory of source files and a state directory."""

    def __init__(self, root: Path) -> None:
        self.repository = GitRepository(root / "repository")
        self.sources, self.state_dir = root / "sources", root / "state"
        self.sources.mkdir()
        url = GitUrl.parse(str(self.repository.path))
        self.mode = StandaloneSettings(
            self.state_dir,
            scan_interval=timedelta(seconds=1),
            git=GitSettings(url, below="images", interval=timedelta(hours=1)),
        )
        self.settings = Settings(source=SourceSettings(allowed_paths=(root,)))

    def write(self, name: str, source: str = "", **spec: object) -> None:
        file = self.sources / (source or name)
        if not file.exists():
            file.write_bytes(data_of(source or name))
        lines = [f"  {field}: {value}" for field, value in {"url": file, "format": "raw", **spec}.items()]
        head = ["apiVersion: goldmaster.dev/v1alpha1", "kind: Image", f"metadata: {{name: {name}}}", "spec:"]
        self.repository.write(f"images/{name}.yaml", "\n".join(head + lines) + "\n")

    @contextmanager
    def instance(self) -> Iterator[Standalone]:
        with wiring.standalone(self.settings, self.mode) as standalone:
            yield standalone

    def apply(self, *paths: Path) -> tuple[dict[str, Image], Following]:
        """Converge once; return the images by name, and how the repository stood."""
        with self.instance() as standalone:
            assert standalone.following is not None
            standalone.following.look(NEVER)
            standalone.take(standalone.load(paths))
            assert standalone.converge(WAIT_S, threading.Event()).ended
            return {image.meta.key.name: image for image in standalone.state.images()}, standalone.following

    def shown(self) -> str:
        """What `get` tells a person of the repository."""
        with self.instance() as standalone:
            followed = standalone.state.followed()
        assert followed is not None
        return followed.shown


def data_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest() * 100


def sha256(name: str) -> str:
    return hashlib.sha256(data_of(name)).hexdigest()


def served(image: Image) -> str | None:
    """Return the digest that a Ready image serves."""
    if not conditions.is_true(image.status.conditions, ConditionType.READY) or image.status.current is None:
        return None
    return image.status.current.content.sha256.hex


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_push_becomes_an_image_and_a_revert_a_rollback_without_a_download(house: House) -> None:
    house.write("a")
    first = house.repository.commit()
    images, following = house.apply()
    assert (served(images["a"]), following.exit_code) == (sha256("a"), 0)
    assert images["a"].status.observed_revision == f"main@sha1:{first}"
    house.write("a", source="b")
    second = house.repository.commit()
    images, _ = house.apply()
    assert served(images["a"]) == sha256("b")
    assert images["a"].status.observed_revision == f"main@sha1:{second}"
    (house.sources / "a").unlink()
    house.repository.git("revert", "--no-edit", "HEAD")
    images, _ = house.apply()
    assert served(images["a"]) == sha256("a")
    assert images["a"].status.observed_revision == f"main@sha1:{house.repository.head}"


def test_a_force_push_is_what_the_branch_says_now(house: House) -> None:
    house.write("a")
    first = house.repository.commit()
    house.apply()
    house.write("a", source="b")
    house.repository.commit()
    house.apply()
    house.repository.git("reset", "--hard", "--quiet", first)
    images, _ = house.apply()
    assert served(images["a"]) == sha256("a")
    assert images["a"].status.observed_revision == f"main@sha1:{first}"


def test_a_commit_with_anything_wrong_is_not_in_force_at_all(house: House) -> None:
    house.write("a")
    house.write("gone")
    first = house.repository.commit()
    house.apply()
    house.write("a", source="b")
    house.write("new")
    house.repository.write("images/wrong.yaml", "apiVersion: goldmaster.dev/v1alpha1\nkind: Image\nspec: {}\n")
    (house.repository.path / "images" / "gone.yaml").unlink()
    second = house.repository.commit()
    images, following = house.apply()
    assert {name: served(image) for name, image in images.items()} == {"a": sha256("a"), "gone": sha256("gone")}
    assert not images["gone"].meta.deleting
    assert following.exit_code == 3
    assert f"commit main@sha1:{second} is wrong: images/wrong.yaml:1: " in house.shown()
    assert house.shown().endswith(f"; main@sha1:{first} stays in force")
    (house.repository.path / "images" / "wrong.yaml").unlink()
    house.repository.commit()
    images, following = house.apply()
    assert {name: served(image) for name, image in images.items()} == {"a": sha256("b"), "new": sha256("new")}
    assert (following.exit_code, house.shown()) == (0, "")


def test_what_is_wrong_only_against_what_is_in_force_refuses_the_commit_too(house: House) -> None:
    """A uuid that is changed, and a name that a PATH has already."""
    house.write("a", uuid="b395386bdb4a4ff1b1850a457c949c5e")
    house.repository.commit()
    house.apply()
    house.write("a", uuid="c395386bdb4a4ff1b1850a457c949c5e")
    house.write("b")
    house.repository.commit()
    images, following = house.apply()
    assert (set(images), following.exit_code) == ({"a"}, 3)
    assert "uuid is never added, changed or removed" in house.shown()
    house.write("a", uuid="b395386bdb4a4ff1b1850a457c949c5e")
    house.repository.commit()
    path = house.sources.parent / "own"
    path.mkdir()
    (path / "b.yaml").write_text((house.repository.path / "images" / "b.yaml").read_text())
    images, following = house.apply(path)
    assert (set(images), following.exit_code) == ({"a", "b"}, 3)
    assert "stands also in" in house.shown()


@pytest.mark.parametrize("loss", ["server", "branch", "path", "history"])
def test_whatever_becomes_of_the_repository_the_last_good_commit_stays_in_force(house: House, loss: str) -> None:
    house.write("a")
    first = house.repository.commit()
    house.apply()
    (house.sources / "a").unlink()
    git = house.repository.git
    if loss == "server":
        house.repository.path.rename(house.repository.path.with_name("away"))
    elif loss == "branch":
        git("checkout", "--quiet", "--detach")
        git("branch", "--quiet", "-D", "main")
        house.mode = replace(house.mode, git=replace(_git(house), branch="main"))
    elif loss == "path":
        git("mv", "images", "elsewhere")
        house.repository.commit()
    else:
        git("update-ref", "-d", "refs/heads/main")
    images, following = house.apply()
    assert served(images["a"]) == sha256("a")
    assert not images["a"].meta.deleting
    assert following.exit_code == 4
    assert house.shown().endswith(f"; main@sha1:{first} stays in force")


def _git(house: House) -> GitSettings:
    assert house.mode.git is not None
    return house.mode.git


def test_the_guards_on_deletion_hold_for_a_commit(house: House) -> None:
    for number in range(20):
        house.write(f"i{number}")
    house.repository.commit()
    house.apply()
    for number in range(10):
        (house.repository.path / "images" / f"i{number}.yaml").unlink()
    house.write("i19", source="other")
    house.repository.commit()
    images, _ = house.apply()
    assert len(images) == 20
    assert served(images["i19"]) == sha256("other"), "the rest of the commit is in force"
    house.mode = replace(house.mode, confirm_deletions=True)
    images, _ = house.apply()
    assert len(images) == 10


def test_a_repository_that_is_suddenly_empty_deletes_nothing(house: House) -> None:
    house.mode = replace(house.mode, git=replace(_git(house), below=""))
    house.write("a")
    house.repository.commit()
    house.apply()
    house.repository.git("rm", "-rq", "images")
    house.repository.commit()
    images, _ = house.apply()
    assert served(images["a"]) == sha256("a")
    assert not images["a"].meta.deleting


def test_a_manifest_that_is_gone_deletes_its_image_whatever_the_branch_or_path(house: House) -> None:
    house.write("a")
    house.write("b", deletionPolicy="Direct")
    house.repository.commit()
    house.apply()
    house.repository.git("checkout", "--quiet", "-b", "other")
    house.repository.git("rm", "-q", "images/b.yaml")
    house.repository.git("mv", "images", "golden")
    house.repository.commit()
    house.mode = replace(house.mode, git=replace(_git(house), branch="other", below="golden"))
    images, _ = house.apply()
    assert set(images) == {"a"}


def test_links_hidden_names_and_what_is_too_large_are_told_apart(house: House) -> None:
    house.write("a")
    for hidden in ("images/.hidden.yaml", "images/.github/x.yaml", "other/x.yaml", "images/readme.md"):
        house.repository.write(hidden, "apiVersion: goldmaster.dev/v1alpha1\nkind: Image\n")
    house.repository.commit()
    images, following = house.apply()
    assert (set(images), following.exit_code) == ({"a"}, 0)
    (house.repository.path / "images" / "link.yaml").symlink_to("a.yaml")
    house.repository.commit()
    _, following = house.apply()
    assert [problem.message for problem in following.problems] == [
        "is a symbolic link, which is not followed in a repository"
    ]
    (house.repository.path / "images" / "link.yaml").unlink()
    house.repository.write("images/large.yaml", "#" * (2**20 + 1))
    house.repository.commit()
    _, following = house.apply()
    assert [problem.message for problem in following.problems] == [
        "has more than 1048576 bytes, too many for manifests"
    ]


def test_a_commit_costs_as_many_writes_as_it_changes_manifests(house: House) -> None:
    for number in range(5):
        house.write(f"i{number}")
    first = house.repository.commit()
    before, _ = house.apply()
    house.write("i0", description="edited")
    second = house.repository.commit()
    after, _ = house.apply()
    assert {name for name in after if after[name] != before[name]} == {"i0"}
    assert {image.status.observed_revision for image in after.values()} == {
        f"main@sha1:{first}",
        f"main@sha1:{second}",
    }


def test_following_nothing_any_more_leaves_what_is_in_force(house: House) -> None:
    house.write("a")
    house.repository.commit()
    house.apply()
    house.mode = replace(house.mode, git=None)
    with house.instance() as standalone:
        standalone.take(standalone.load([]))
        assert standalone.state.followed() is None
        (image,) = standalone.state.images()
        assert not image.meta.deleting


def test_the_first_look_decides_which_storage_serves(house: House, tmp_path: Path) -> None:
    """No built-in storage comes into being while it is not known what the repository declares."""
    house.repository.path.rename(house.repository.path.with_name("away"))
    house.apply()
    with house.instance() as standalone:
        assert standalone.state.keys(Kind.BACKUP_STORAGE) == []
    house.repository.path.with_name("away").rename(house.repository.path)
    house.write("a")
    house.repository.write(
        "images/store.yaml",
        "apiVersion: goldmaster.dev/v1alpha1\nkind: BackupStorage\nmetadata: {name: own}\n"
        f"spec: {{type: ImageStore, imageStore: {{path: {tmp_path / 'own'}}}, reservedCapacity: 1Mi}}\n",
    )
    house.repository.commit()
    images, _ = house.apply()
    assert [ref.storage_name for ref in images["a"].status.refs] == ["own"]


def test_the_command_says_what_is_in_force_and_ends_with_why(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    def apply(*more: str) -> tuple[int, str]:
        place = ["--git", str(house.repository.path), "--state", str(house.state_dir), "--path", "images"]
        code = main.run(["apply", *place, "--allow-path", str(house.sources.parent), *more])
        lines = capsys.readouterr().err.splitlines(keepends=True)
        return code, "".join(line for line in lines if not line.startswith("{"))  # without what it logs

    house.write("a")
    first = house.repository.commit()
    assert apply() == (0, "1 of 1 images are Ready\n")
    house.write("a", format="rew")
    second = house.repository.commit()
    code, told = apply()
    assert code == 3
    assert told.splitlines()[:2] == [
        "1 of 1 images are Ready",
        f"file://{house.repository.path}//images/a.yaml:6: spec.format: must be one of qcow2, raw, iso, vmdk; "
        "got 'rew' (did you mean raw?) (Image a)",
    ]
    assert f"commit main@sha1:{second} is wrong" in told
    assert f"main@sha1:{first} stays in force" in told
    assert main.run(["get", "images", "--state", str(house.state_dir)]) == 0
    shown = capsys.readouterr()
    assert f"commit main@sha1:{second} is wrong" in shown.err
    assert shown.out.splitlines()[1].split()[:3] == ["a", "Ready", "True"]
    code, told = apply("--branch", "none")
    assert code == 4
    assert f"has no branch none; main@sha1:{first} stays in force" in told


def test_a_path_beside_a_repository_that_cannot_be_asked_goes_on(house: House, tmp_path: Path) -> None:
    house.write("a")
    path = tmp_path / "own"
    path.mkdir()
    (house.repository.path / "images" / "a.yaml").rename(path / "a.yaml")
    images, following = house.apply(path)
    assert (served(images["a"]), following.exit_code) == (sha256("a"), 4)


# --- run -------------------------------------------------------------------------------------------------------------


def test_run_follows_the_branch_and_a_request_makes_it_look_at_once(house: House) -> None:
    """The interval is an hour: every look but the first is one that was asked for."""
    house.write("a")
    house.repository.commit()
    reports: list[list[Problem]] = []
    key = Key(Kind.IMAGE, "default", "a")
    with running(house.instance(), [], lambda problems: reports.append(list(problems))) as standalone:

        def serves(name: str) -> bool:
            image = standalone.state.image(key)
            return image is not None and served(image) == sha256(name)

        until(lambda: serves("a"))
        house.write("a", source="b")
        house.repository.commit()
        standalone.state.ask(key, Verb.RECONCILE)
        until(lambda: serves("b"))
        house.repository.write("images/a.yaml", "kind: [broken, goldmaster.dev")
        house.repository.commit()
        standalone.state.ask(key, Verb.RECONCILE)
        until(lambda: any(reports))
        assert "images/a.yaml" in reports[-1][0].file
        followed = standalone.state.followed()
        assert followed is not None
        assert "is wrong" in followed.trouble
        house.repository.git("revert", "--no-edit", "HEAD")
        standalone.state.ask(key, Verb.RECONCILE)
        until(lambda: reports[-1] == [])
        assert serves("b")


def test_run_looks_again_every_interval(house: House) -> None:
    house.mode = replace(house.mode, git=replace(_git(house), interval=timedelta(seconds=0.2)))
    house.write("a")
    house.repository.commit()
    with running(house.instance(), []) as standalone:
        until(lambda: len(standalone.state.images()) == 1)
        house.write("b")
        house.repository.commit()
        until(lambda: len(standalone.state.images()) == 2)


def test_a_run_that_starts_without_its_server_keeps_what_is_in_force(house: House) -> None:
    house.write("a")
    house.repository.commit()
    house.apply()
    house.repository.path.rename(house.repository.path.with_name("away"))
    with running(house.instance(), []) as standalone:

        def said() -> str:
            followed = standalone.state.followed()
            return followed.trouble if followed else ""

        until(lambda: "git ended with status 128" in said())
        (image,) = standalone.state.images()
        assert served(image) == sha256("a")


def test_a_machine_without_git_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    _, following = house.apply()
    assert following.exit_code == errors.Usage.exit_code
    assert "git is not installed" in house.shown()
