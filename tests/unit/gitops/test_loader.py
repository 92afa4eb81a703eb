"""Trees of manifests as they lie on disk: what is read, what is passed over, what is reported and where."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from controller import errors
from controller.gitops.loader import MAX_FILE_BYTES, Loader
from controller.gitops.tree import Tree
from controller.model.resource import Key, Kind
from tests.fakes.clock import FakeClock
from tests.unit.gitops.manifests import ADMISSION, URL, document

LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture
def loader() -> Loader:
    return Loader(ADMISSION, FakeClock(LATER))


def write(path: Path, *documents: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents))
    return path


def names(tree: Tree) -> list[str]:
    assert tree.problems == ()
    return [wanted.key.name for wanted in tree.objects]


def test_a_directory_is_read_with_everything_below_it_in_order(loader: Loader, tmp_path: Path) -> None:
    write(tmp_path / "b.yml", document("b"), document("b2"))
    write(tmp_path / "a.yaml", document("a"))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "c.json").write_text(json.dumps(document("c")))
    (tmp_path / "notes.txt").write_text("kind: Image # goldmaster.dev")
    tree = loader.load(tmp_path)
    assert names(tree) == ["a", "b", "b2", "c"]
    assert tree.root == str(tmp_path)
    assert [(wanted.file, wanted.line) for wanted in tree.objects][:3] == [
        (str(tmp_path / "a.yaml"), 1), (str(tmp_path / "b.yml"), 1), (str(tmp_path / "b.yml"), 8),
    ]  # fmt: skip


def test_a_path_may_be_one_file_of_any_name(loader: Loader, tmp_path: Path) -> None:
    assert names(loader.load(write(tmp_path / "manifests.txt", document("a")))) == ["a"]


def test_defaults_are_applied_and_the_namespace_is_default(loader: Loader, tmp_path: Path) -> None:
    (wanted,) = loader.load(write(tmp_path / "a.yaml", document("a"))).objects
    assert wanted.key == Key(Kind.IMAGE, "default", "a")
    assert wanted.spec["platform"] == "Linux"


def test_lists_are_their_items(loader: Loader, tmp_path: Path) -> None:
    write(tmp_path / "l.yaml", {"apiVersion": "v1", "kind": "List", "items": [document("a"), document("b")]})
    write(tmp_path / "m.yaml", {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "ImageList", "items": [document("c")]})
    assert names(loader.load(tmp_path)) == ["a", "b", "c"]


def test_documents_of_others_are_passed_over(loader: Loader, tmp_path: Path) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}
    openshift = {"apiVersion": "image.openshift.io/v1", "kind": "Image", "metadata": {"name": "x"}}
    write(tmp_path / "a.yaml", namespace, document("a"), openshift, None, "goldmaster prose", [1])
    (tmp_path / "template.yaml").write_text("kind: Image\n{{ if }}: [\n")
    (tmp_path / "other.yaml").write_text("{{ not yaml")
    tree = loader.load(tmp_path)
    assert names(tree) == ["a"]
    assert tree.ignored == 4
    assert [namespace.name for namespace in tree.namespaces] == ["a"]
    assert tree.silent == {str(tmp_path / "template.yaml"), str(tmp_path / "other.yaml")}


def test_hidden_names_and_the_state_directory_are_passed_over(tmp_path: Path) -> None:
    for place in (".git", ".hidden.yaml", "state"):
        write(tmp_path / place / "x.yaml" if "." not in place[1:] else tmp_path / place, document("x"))
    loader = Loader(ADMISSION, FakeClock(LATER), ignore=tmp_path / "state")
    assert names(loader.load(tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("metadata: {name: a}\nspec:\n  url: http://a/x\n  frmat: raw\n", 6, "spec.frmat", "did you mean format"),
        ("metadata: {name: a}\nspec:\n  url: http://a/x\n  format: qcow3\n", 6, "spec.format", "must be one of"),
        ("metadata: {name: a}\nspec:\n  format: raw\n", 4, "spec.url", "required"),
        ("metadata: {name: a}\nspec:\n  url: http://a/x\n  url: http://b/\n", 6, "spec.url", "stands there twice"),
        ("metadata: {name: A}\nspec:\n  url: http://a/x\n", 3, "metadata.name", "not allowed"),
        ("metadata: {name: a}\n", 1, "spec", "required"),
        ("metadata: {name: a}\nspec: [\n", 5, "", "expected"),
        ("metadata: {name: a}\nspec:\n  url: http://a/x\n  system: true\n  mediaType: ISO\n", 6, "spec.system", "ISO"),
        ("metadata: {name: !vault a}\nspec:\n  url: http://a/x\n", 3, "metadata.name", "tag"),
        ("metadata: {name: a}\nspec:\n  url: http://a/x\n  checksum: sha256:00\n", 6, "spec.checksum", ""),
    ],
)  # fmt: skip
def test_a_problem_names_file_line_path_and_what_is_allowed(
    loader: Loader, tmp_path: Path, text: str, line: int, path: str, message: str
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("apiVersion: goldmaster.dev/v1alpha1\nkind: Image\n" + text)
    tree = loader.load(tmp_path)
    assert tree.objects == ()
    found = [(problem.file, problem.line, problem.path) for problem in tree.problems]
    assert (str(file), line, path) in found
    assert any(message in problem.message for problem in tree.problems)
    assert f"{file}:{line}: " in str(tree.problems[0])


@pytest.mark.parametrize(
    ("api_version", "kind", "path"),
    [
        ("goldmaster.dev/v1", "Image", "apiVersion"),
        ("goldmastr.dev/v1alpha1", "Image", "apiVersion"),
        (None, "BackupStorage", "apiVersion"),
        ("goldmaster.dev/v1alpha1", "Imagee", "kind"),
    ],
)
def test_a_slip_in_kind_or_version_is_no_document_of_others(
    loader: Loader, tmp_path: Path, api_version: str | None, kind: str, path: str
) -> None:
    write(tmp_path / "a.yaml", {**document("a"), "apiVersion": api_version, "kind": kind})
    assert [problem.path for problem in loader.load(tmp_path).problems] == [path]


def test_one_bad_object_does_not_hide_the_others(loader: Loader, tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", document("a"), document("b", format="qcow3"), document("c"))
    write(tmp_path / "l.yaml", {"apiVersion": "v1", "kind": "List", "items": [document("d"), document("e", url=7)]})
    tree = loader.load(tmp_path)
    assert [wanted.key.name for wanted in tree.objects] == ["a", "c", "d"]
    assert {problem.object for problem in tree.problems} == {"Image b", "Image e"}


def test_a_double_key_in_one_item_of_a_list_is_that_items(loader: Loader, tmp_path: Path) -> None:
    item = "- apiVersion: goldmaster.dev/v1alpha1\n  kind: Image\n  metadata: {name: %s}\n  spec: {url: http://a/%s}\n"
    text = "apiVersion: v1\nkind: List\nitems:\n" + item % ("a", "1, url: x") + item % ("b", "2")
    (tmp_path / "l.yaml").write_text(text)
    tree = loader.load(tmp_path)
    assert [wanted.key.name for wanted in tree.objects] == ["b"]
    assert [(problem.line, problem.path) for problem in tree.problems] == [(7, "spec.url")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"# goldmaster.dev\n\xff\xfe", "UTF-8"),
        (b"# goldmaster.dev\n" + b"#" * MAX_FILE_BYTES, "bytes"),
        (b"# goldmaster.dev\na: \x00", "control"),
    ],
)
def test_a_file_that_is_no_text_or_too_large_is_a_problem(
    loader: Loader, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "a.yaml").write_bytes(data)
    (problem,) = loader.load(tmp_path).problems
    assert message in problem.message


def test_a_path_that_is_not_there_is_unreadable(loader: Loader, tmp_path: Path) -> None:
    tree = loader.load(tmp_path / "none")
    assert tree.unreadable
    assert "No such file" in tree.problems[0].message


def test_what_may_not_be_read_is_a_problem(loader: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is made up."""
    write(tmp_path / "a.yaml", document("a"))
    write(tmp_path / "closed" / "b.yaml", document("b"))
    really_open, really_scan = os.open, os.scandir

    def refuse_open(path: str, flags: int) -> int:
        if path.endswith("a.yaml"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return really_open(path, flags)

    def refuse_scan(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return really_scan(path)

    monkeypatch.setattr(os, "open", refuse_open)
    monkeypatch.setattr(os, "scandir", refuse_scan)
    found = {Path(problem.file).name: problem.message for problem in loader.load(tmp_path).problems}
    assert found == dict.fromkeys(("a.yaml", "closed"), "cannot be read: Permission denied")


def test_a_named_pipe_does_not_hang_the_loader(loader: Loader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    (problem,) = loader.load(tmp_path).problems
    assert "not a regular file" in problem.message


def test_links_are_followed_inside_the_tree_only(loader: Loader, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "x.yaml", document("x"))
    tree_dir = tmp_path / "tree"
    write(tree_dir / "..data" / "a.yaml", document("a"))
    (tree_dir / "a.yaml").symlink_to("..data/a.yaml")
    (tree_dir / "same").symlink_to("..data")
    assert names(loader.load(tree_dir)) == ["a"]
    (tree_dir / "x.yaml").symlink_to(outside)
    (tree_dir / "dir").symlink_to(outside.parent)
    (tree_dir / "gone.yaml").symlink_to("nothing.yaml")
    (tree_dir / "loop").symlink_to("loop")
    tree = loader.load(tree_dir)
    assert [wanted.key.name for wanted in tree.objects] == ["a"]
    assert {Path(problem.file).name for problem in tree.problems} == {"x.yaml", "dir", "gone.yaml"}


def test_a_root_that_is_a_link_keeps_its_name_when_it_is_switched(loader: Loader, tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.yaml", document("a"))
    write(tmp_path / "two" / "b.yaml", document("b"))
    link = tmp_path / "current"
    link.symlink_to("one")
    first = loader.load(link)
    link.unlink()
    link.symlink_to("two")
    second = loader.load(link)
    assert (names(first), names(second)) == (["a"], ["b"])
    assert first.root == second.root == str(link)


def test_paths_within_each_other_are_refused(loader: Loader, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.yaml", document("a"))
    for paths in ([tmp_path, tmp_path / "in"], [tmp_path / "in", tmp_path], [tmp_path, tmp_path]):
        with pytest.raises(errors.Usage, match="inside"):
            loader.load_all(paths)


def test_what_did_not_change_is_not_parsed_again(loader: Loader, tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", document("a"))
    first = loader.load(tmp_path).objects[0]
    assert loader.load(tmp_path).objects[0] is first
    file.write_text(file.read_text().replace(URL, "http://images.example/other.qcow2"))
    assert loader.load(tmp_path).objects[0].spec["url"] == "http://images.example/other.qcow2"


def test_a_file_just_written_is_read_again_as_its_times_may_not_tell(tmp_path: Path) -> None:
    loader = Loader(ADMISSION, FakeClock(datetime.now(UTC)))
    write(tmp_path / "a.yaml", document("a"))
    assert loader.load(tmp_path).objects[0] is not loader.load(tmp_path).objects[0]


def test_an_emptied_file_is_silent(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    tree = loader.load(tmp_path)
    assert tree.silent == {str(tmp_path / "a.yaml")}
    assert (tree.objects, tree.problems, tree.ignored) == ((), (), 0)
