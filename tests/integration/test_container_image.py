"""The container image without a container engine: its one build step is run, and the Dockerfile does nothing else."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "manifests" / "image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text().replace("\\\n", " ")
LINES = [line.split(None, 1) for line in DOCKERFILE.splitlines() if line.strip() and not line.startswith("#")]


def all_of(instruction: str) -> list[str]:
    return [rest for name, rest in LINES if name == instruction]


def context() -> Iterator[Path]:
    """Yield what the ignore file lets into the build, of the files that Git knows."""
    patterns = (IMAGE / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in patterns, "what is not named stays out"
    wanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    known = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for pattern in wanted:
        found = [Path(name) for name in known if fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern}/")]
        assert found, f"{pattern} is not there"
        yield from found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the build step makes of what goes into it; packages come from this test's environment, not from PyPI."""
    source = tmp_path_factory.mktemp("context")
    for path in context():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path)
    (command,) = all_of("RUN")
    name, *arguments = yaml.safe_load(command)
    made = source.parent / "made"
    done = subprocess.run(
        [name, *[argument.replace("/opt/goldmaster", str(made)) for argument in arguments]],
        cwd=source,
        env=environment(source.parent) | {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"goldmaster \d+\.\d+\.\d+", done.stdout.splitlines()[-1])
    return made


def environment(home: Path) -> dict[str, str]:
    """The packages that the project depends on are seen, this checkout is not: it is installed by a .pth file."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": sysconfig.get_path("purelib"), "HOME": str(home)}


def test_the_built_tree_runs_goldmaster(tree: Path, tmp_path: Path) -> None:
    """From the files in it, the CRDs too, and not from this checkout."""
    command = tree / "bin" / "goldmaster"
    done = subprocess.run(
        [command, "validate", str(ROOT / "manifests" / "samples")],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    where = subprocess.run(
        [tree / "bin" / "python", "-c", "import controller; print(controller.__file__)"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert Path(where.strip()).is_relative_to(tree)


def test_nothing_in_the_tree_has_to_be_written_or_can_install_more(tree: Path) -> None:
    modules = list((tree / "lib").glob("python3.*/site-packages/controller/**/*.py"))
    assert len(modules) > 100
    for module in modules:
        assert list((module.parent / "__pycache__").glob(f"{module.stem}.cpython-*.pyc")), module
    assert not list((tree / "bin").glob("pip*"))
    assert not list((tree / "lib").glob("python3.*/site-packages/pip"))


def test_the_last_stage_only_copies_that_tree_and_runs_it_as_nobody() -> None:
    last = DOCKERFILE.split("\nFROM ")[-1]
    assert "RUN" not in last
    assert all_of("FROM") == ["${BASE} AS build", "${BASE}"], "the tree runs on the Python that it was made with"
    assert all_of("COPY") == [". .", "--from=build /opt/goldmaster /opt/goldmaster"]
    assert all_of("ENTRYPOINT") == ['["/opt/goldmaster/bin/goldmaster"]']
    built = yaml.safe_load_all((ROOT / "manifests" / "controller" / "deployment.yaml").read_text())
    pod = next(document for document in built if document["kind"] == "Deployment")["spec"]["template"]["spec"]
    security = pod["securityContext"]
    assert all_of("USER") == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert "command" not in pod["containers"][0], "the image's entry point is what runs"


def test_versions_are_pinned() -> None:
    (base,) = all_of("ARG")
    assert re.fullmatch(r"BASE=python:\d+\.\d+\.\d+-slim-[a-z]+", base)
    assert ".ci/constraints.txt" in (IMAGE / "install").read_text()
    kustomization = yaml.safe_load((ROOT / "manifests" / "controller" / "kustomization.yaml").read_text())
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert [image["newTag"] for image in kustomization["images"]] == [version[1]]
