"""Secret manifests in a directory: which are read, and what is refused without showing a value."""

import base64
import json
from pathlib import Path

import pytest

from controller import errors
from controller.gitops.secrets import SecretFiles
from controller.model.secret import Secret

GOOD = """
apiVersion: v1
kind: Secret
metadata: {name: mirror}
type: goldmaster.dev/source
stringData: {origins: "https://h.example", token: hunter2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.mkdir(mode=0o700)
    return path


def write(folder: Path, text: str = GOOD, name: str = "mirror.yaml", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def read(folder: Path, name: str = "mirror", namespace: str = "default") -> Secret:
    return SecretFiles(folder).read(namespace, name)


def test_string_data_is_read(folder: Path) -> None:
    write(folder)
    found = read(folder)
    assert (found.namespace, found.name, found.type) == ("default", "mirror", "goldmaster.dev/source")
    assert found.data == {"origins": b"https://h.example", "token": b"hunter2"}
    SecretFiles(folder).check([folder.parent / "manifests"])


def test_data_is_base64_and_string_data_wins(folder: Path) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mirror", "namespace": "team"},
        "data": {"a": base64.b64encode(b"\x00\xff").decode(), "b": "b2xk"},
        "stringData": {"b": "new"},
    }
    write(folder, json.dumps(document), "mirror.json", 0o400)
    assert read(folder, namespace="team").data == {"a": b"\x00\xff", "b": b"new"}
    assert read(folder, namespace="team").type == "Opaque"


def test_several_documents_and_other_files_may_lie_there(folder: Path) -> None:
    write(folder, GOOD + "---\n" + GOOD.replace("mirror", "other") + "---\n")
    write(folder, "not yaml: [", "README.md", 0o644)
    write(folder, "not yaml: [", ".mirror.yaml.swp", 0o644)
    assert read(folder, "other").name == "other"
    SecretFiles(folder).check([])


def test_a_changed_secret_is_read_anew(folder: Path) -> None:
    write(folder)
    files = SecretFiles(folder)
    assert files.read("default", "mirror").data["token"] == b"hunter2"
    write(folder, GOOD.replace("hunter2", "hunter3"))
    assert files.read("default", "mirror").data["token"] == b"hunter3"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o601])
def test_a_file_that_others_may_read_is_refused(folder: Path, mode: int) -> None:
    write(folder, mode=mode)
    with pytest.raises(errors.Usage, match=f"mirror.yaml has mode 0{mode:o}, so that others may read it: chmod 600"):
        SecretFiles(folder).check([])
    with pytest.raises(errors.DependencyNotReady, match="chmod 600"):
        read(folder)


def test_a_directory_that_others_may_write_to_is_refused(folder: Path) -> None:
    write(folder)
    folder.chmod(0o770)
    with pytest.raises(errors.Usage, match="chmod go-w"):
        SecretFiles(folder).check([])


@pytest.mark.parametrize("place", ["m", "m/secrets", "m/deep/secrets"])
def test_secrets_in_a_tree_of_manifests_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / place)
    for secrets in (tmp_path / place, tmp_path / "link"):
        with pytest.raises(errors.Usage, match=r"is inside .*m: manifests are committed"):
            SecretFiles(secrets).check([tmp_path / "elsewhere", tmp_path / "m"])


def test_manifests_among_secrets_are_refused(folder: Path) -> None:
    with pytest.raises(errors.Usage, match="kept away from manifests"):
        SecretFiles(folder).check([folder / "image.yaml"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: *hunter2", "not well-formed at line 1"),
        ("a: [hunter2", "not well-formed"),
        ("a: 1\na: hunter2", "something twice at line"),
        ("hunter2", "line 1 is no Secret"),
        (GOOD.replace("kind: Secret", "kind: ConfigMap"), "is no Secret"),
        (GOOD.replace("stringData", "stringdata"), "has the field stringdata"),
        (GOOD.replace("name: mirror", "nam: hunter2"), "no metadata.name"),
        (GOOD.replace("stringData:", "data:"), "data.origins is not base64"),
        (GOOD.replace("token: hunter2", "token: [hunter2]"), "stringData.token is not text"),
        (GOOD.replace("{origins", "[{origins").replace("hunter2}", "hunter2}]"), "stringData is no mapping"),
    ],
)
def test_what_is_no_secret_is_named_by_its_place_only(folder: Path, text: str, said: str) -> None:
    write(folder, text)
    with pytest.raises(errors.Usage) as caught:
        SecretFiles(folder).check([])
    assert said in str(caught.value)
    assert "mirror.yaml" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(errors.DependencyNotReady, match=r"mirror\.yaml") as waiting:
        read(folder)
    assert "hunter2" not in str(waiting.value)


def test_bytes_a_fifo_and_a_large_file_are_no_secrets(folder: Path, tmp_path: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\xff")
    (folder / "b.yaml").write_bytes(b"#" * (2**20 + 1))
    (folder / "c.yaml").mkdir()
    for name in ("a.yaml", "b.yaml"):
        (folder / name).chmod(0o600)
    (folder / "d.yaml").symlink_to(tmp_path / "nowhere")
    with pytest.raises(errors.Usage, match=r"a.yaml is not UTF-8.*b.yaml has more than.*c.yaml is not a regular"):
        SecretFiles(folder).check([])


def test_a_missing_secret_a_doubled_one_and_a_missing_directory_make_it_wait(folder: Path) -> None:
    write(folder)
    with pytest.raises(errors.DependencyNotReady, match="Secret default/other is not in --secrets"):
        read(folder, "other")
    with pytest.raises(errors.DependencyNotReady, match="Secret team/mirror is not in"):
        read(folder, namespace="team")
    write(folder, name="again.yaml")
    with pytest.raises(errors.DependencyNotReady, match="2 times"):
        read(folder)
    with pytest.raises(errors.DependencyNotReady, match="No such file"):
        read(folder / "gone")


def test_the_version_of_a_secret_is_another_one_after_each_change(tmp_path: Path) -> None:
    folder = tmp_path / "versions"
    folder.mkdir(mode=0o700)
    secrets = SecretFiles(folder)
    seen = [secrets.version("default", "mirror")]
    file = folder / "mirror.yaml"
    for text in ("a", "b", "bb"):
        file.unlink(missing_ok=True)
        file.write_text(text)
        seen.append(secrets.version("default", "mirror"))
    assert seen[0] == ""
    assert len(set(seen)) == len(seen)
    assert secrets.version("default", "mirror") == seen[-1]
