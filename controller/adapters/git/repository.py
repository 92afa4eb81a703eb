"""A repository that we follow: a bare, shallow copy of our own, read by plumbing. Nothing is ever checked out.

Manifests are read from the objects of one commit, so nobody sees half of a checkout, no link leads anywhere, and no
filter, hook or submodule has anything to act on. The copy is a cache: where anything about it is odd, it is made anew.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from controller import errors, logs
from controller.adapters.git import process
from controller.adapters.git.process import Failed, Run
from controller.adapters.git.remote import Remote, Way
from controller.model.git import COMMIT, RepositoryFile, Tip
from controller.model.git_secret import GitCredentials
from controller.model.git_url import check_branch
from controller.ports import Clock, StopToken

log = structlog.get_logger()

LEAST_VERSION = 2, 37
"""An older git does not know http.curloptResolve, passes over it, and looks the name up again."""
ASK_TIMEOUT_S = 60.0
FETCH_TIMEOUT_S = 600.0
READ_TIMEOUT_S = 120.0
MAX_PACK_BYTES = 2**30
"""What one fetch may bring: the tip of a repository that has manifests in it, not one that has images."""
MAX_REFS_BYTES = 2**20
MAX_LISTING_BYTES = 2**26
DEPTHS = (16, 256, 4096)
"""How far back a commit is looked for, in turn: a push is found at once, and no server can make it endless."""
MAX_PACKS = 20
"""So many fetches are kept side by side before they are made one, and what is not needed any more is dropped."""
_BATCH_BYTES = 2**24
_TIP = "refs/goldmaster/tip"
_ZERO_CONFIG = (
    ("core.hooksPath", "/dev/null"),
    ("core.symlinks", "false"),
    ("core.fsmonitor", "false"),
    ("core.bigFileThreshold", "1m"),  # what is larger is streamed, not held in memory
    ("fetch.recurseSubmodules", "false"),
    ("submodule.recurse", "false"),
    ("fetch.unpackLimit", "1"),
    ("fetch.writeCommitGraph", "false"),
    ("transfer.bundleURI", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("safe.bareRepository", "all"),
)


class GitRepository:
    """Implements `gitops.git_ports.Repository`. `folder` is its own; one thread uses it.

    `credentials` is asked before each look, so that a changed Secret is taken up. `allowed_signers`: the file of
    ssh-keygen(1) that says whose signature a commit must have; None asks for none.
    """

    def __init__(
        self,
        remote: Remote,
        branch: str | None,
        folder: Path,
        clock: Clock,
        credentials: Callable[[], GitCredentials | None] = lambda: None,
        allowed_signers: Path | None = None,
        max_pack_bytes: int = MAX_PACK_BYTES,
    ) -> None:
        self._remote = remote
        self._branch = branch
        self._folder = folder
        self._copy = folder / "repository"
        self._clock = clock
        self._credentials = credentials
        self._signers = allowed_signers
        self._max_pack_bytes = max_pack_bytes
        self._have: Tip | None = None
        self._opened = False

    def newest(self, stop: StopToken) -> Tip:
        """Ask which commit the branch has, and have it here. See `gitops.git_ports.Repository`."""
        credentials = self._credentials()
        with self._asking(credentials):
            self._open()
            with self._remote.way(credentials, stop) as way:
                tip = self._ask(way, stop)
                if tip != self._have:
                    tip = self._fetch(tip, way, stop)
        if tip != self._have and self._signers is not None:
            self._verify(tip, self._signers, stop)
        self._have = tip
        return tip

    def descends(self, tip: Tip, ancestor: str, stop: StopToken) -> bool:
        """Return whether a commit is in the history of the tip. See `gitops.git_ports.Repository`."""
        credentials = self._credentials()
        with self._asking(credentials):
            try:
                for depth in DEPTHS:
                    if self._is_among(tip, ancestor, stop):
                        return True
                    if not (self._copy / "shallow").exists():
                        return False  # this is all of its history
                    with self._remote.way(credentials, stop) as way:
                        self._fetch_into(tip, way, stop, depth)
                return self._is_among(tip, ancestor, stop)
            except Failed:
                self._forget()
                raise

    def files(self, tip: Tip, below: str, stop: StopToken) -> list[RepositoryFile]:
        """Return every file of a commit below a path. See `gitops.git_ports.Repository`."""
        listed = self._read(
            Run(
                ("ls-tree", "-r", "-z", "-l", "--full-tree", tip.commit, "--", *([below] if below else [])),
                max_output_bytes=MAX_LISTING_BYTES,
            ),
            stop,
        )
        entries = listed.decode(errors="backslashreplace").split("\0")  # names are shown and compared, never opened
        return [_entry(*entry.split("\t", 1)) for entry in entries if entry]

    def read(self, files: Sequence[RepositoryFile], stop: StopToken) -> Iterator[tuple[RepositoryFile, bytes]]:
        """Yield the bytes of files. See `gitops.git_ports.Repository`."""
        batch: list[RepositoryFile] = []
        for file in files:
            batch.append(file)
            if sum(one.size_bytes for one in batch) >= _BATCH_BYTES:
                yield from self._batch(batch, stop)
                batch = []
        yield from self._batch(batch, stop)

    # --- the server ------------------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self, credentials: GitCredentials | None) -> Iterator[None]:
        """Turn what goes wrong into our errors; nothing that is half written is left."""
        try:
            yield
        except BaseException as exc:
            self._drop_torn()
            if isinstance(exc, Failed):
                raise errors.SourceUnreachable(_told(exc, credentials)) from None
            if isinstance(exc, OSError):
                raise errors.StateBroken(f"cannot write in {self._folder}: {exc.strerror}") from exc
            raise

    def _ask(self, way: Way, stop: StopToken) -> Tip:
        """Return what the branch is at now; where none was named, the branch that the server calls HEAD."""
        wanted = "HEAD" if self._branch is None else f"refs/heads/{self._branch}"
        arguments = ("ls-remote", "--symref", "--", self._remote.url.text, wanted)
        text = self._run(Run(arguments, timeout_s=ASK_TIMEOUT_S, max_output_bytes=MAX_REFS_BYTES), way, stop)
        said: dict[str, list[str]] = {}
        for line in text.decode(errors="replace").split("\n"):  # names of others may be any bytes
            value, _, name = line.partition("\t")
            said.setdefault(name, []).append(value)
        heads = [value.removeprefix("ref: refs/heads/") for value in said.get(wanted, ()) if value.startswith("ref: ")]
        commits = [value for value in said.get(wanted, ()) if COMMIT.match(value)]
        branch = self._branch or next(iter(heads), None)
        if branch is None or not commits:
            what = f"has no branch {self._branch}" if self._branch else "is empty, or its HEAD is on no branch"
            raise errors.SourceNotFound(f"{self._remote.url.text} {what}")
        return Tip(check_branch(branch), commits[0])

    def _fetch(self, tip: Tip, way: Way, stop: StopToken) -> Tip:
        """Have the newest commit here; anew if the copy is in the way of it."""
        if not self._copy.exists():
            self._make(tip, stop)
            return self._fetch_into(tip, way, stop)
        try:
            return self._fetch_into(tip, way, stop)
        except Failed as exc:
            log.info("repository.anew", url=self._remote.url.text, message=str(exc))
            self._forget()
            self._make(tip, stop)
            return self._fetch_into(tip, way, stop)

    def _fetch_into(self, tip: Tip, way: Way, stop: StopToken, depth: int = 1) -> Tip:
        what = (
            f"--depth={depth}",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
        )
        refspec = f"+refs/heads/{tip.branch}:{_TIP}"
        arguments = ("fetch", "--quiet", *what, "--", self._remote.url.text, refspec)
        self._run(Run(arguments, timeout_s=FETCH_TIMEOUT_S, max_file_bytes=self._max_pack_bytes), way, stop, self._copy)
        commit = self._run(Run(("rev-parse", "--verify", f"{_TIP}^{{commit}}")), None, stop, self._copy)
        self._tidy(stop)
        return Tip(tip.branch, commit.decode().strip())

    def _is_among(self, tip: Tip, ancestor: str, stop: StopToken) -> bool:
        """Whether the history that is here has a commit: each one names its parents by the hash of what they are."""
        listed = self._run(
            Run(("rev-list", tip.commit, "--"), max_output_bytes=MAX_LISTING_BYTES), None, stop, self._copy
        )
        return ancestor in listed.decode().split()

    def _verify(self, tip: Tip, signers: Path, stop: StopToken) -> None:
        """Raise SignatureInvalid unless the commit has a good signature of somebody in the file."""
        if not signers.is_file():
            raise errors.DependencyNotReady(f"--verify-commits {signers} is not there")
        settings = (
            ("gpg.ssh.allowedSignersFile", str(signers.absolute())),
            ("gpg.minTrustLevel", "fully"),
            ("gpg.program", "/bin/false"),
            ("gpg.x509.program", "/bin/false"),
        )
        with tempfile.TemporaryDirectory(prefix="verify-", dir=self._folder) as room:
            what = Run(("verify-commit", "--", tip.commit), settings=settings, environment={"TMPDIR": room})
            try:
                self._run(what, None, stop, self._copy)
            except Failed as exc:
                said = logs.clip("; ".join(line.strip() for line in exc.said.splitlines() if line.strip()))
                why = said or "it is not signed"
                raise errors.SignatureInvalid(
                    f"commit {tip.commit} has no good ssh signature of anybody in {signers}: {why}"
                ) from None

    # --- the copy --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Begin, once: with a copy only if no killed process can have left it half written."""
        if self._opened:
            return
        process.need_version(LEAST_VERSION, self._clock)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remote.tidy()
        for left in self._folder.glob("verify-*"):
            shutil.rmtree(left, ignore_errors=True)
        self._drop_torn()
        if not self._is_ours():
            self._forget()
        self._opened = True

    def _drop_torn(self) -> None:
        """Forget a copy that git was writing to when it was ended: what it left is as large as what a server sends."""
        if any(self._copy.rglob("*.lock")) or any(self._copy.rglob("tmp_*")):
            self._forget()

    def _is_ours(self) -> bool:
        """Whether the copy is one of this repository: objects of another one would only lie about."""
        with suppress(OSError):
            return (self._copy / "goldmaster-url").read_text() == self._remote.url.text
        return False

    def _make(self, tip: Tip, stop: StopToken) -> None:
        kind = "sha1" if len(tip.commit) == 40 else "sha256"
        self._run(Run(("init", "--quiet", "--bare", "--template=", f"--object-format={kind}")), None, stop, self._copy)
        (self._copy / "goldmaster-url").write_text(self._remote.url.text)

    def _forget(self) -> None:
        self._have = None
        shutil.rmtree(self._copy, ignore_errors=True)

    def _tidy(self, stop: StopToken) -> None:
        """Make one pack of many, and drop what no fetch needs; what fails here fails for good at the next fetch."""
        if len(list((self._copy / "objects" / "pack").glob("*.pack"))) <= MAX_PACKS:
            return
        with suppress(Failed):
            self._run(Run(("gc", "--quiet", "--prune=now"), timeout_s=FETCH_TIMEOUT_S), None, stop, self._copy)

    def _read(self, what: Run, stop: StopToken) -> bytes:
        """Run git on the copy; where it fails the copy is broken, and is fetched anew at the next look."""
        try:
            return self._run(what, None, stop, self._copy)
        except Failed as exc:
            self._forget()
            raise errors.SourceUnreachable(f"the copy of {self._remote.url.text} is broken: {exc}") from None

    def _batch(self, files: Sequence[RepositoryFile], stop: StopToken) -> Iterator[tuple[RepositoryFile, bytes]]:
        if not files:
            return
        asked = "".join(f"{file.blob}\n" for file in files).encode()
        most = sum(file.size_bytes + 128 for file in files)
        answer = memoryview(
            self._read(Run(("cat-file", "--batch"), given=asked, max_output_bytes=most, timeout_s=READ_TIMEOUT_S), stop)
        )
        for file in files:
            head = f"{file.blob} blob {file.size_bytes}\n".encode()
            if answer[: len(head)] != head:
                self._forget()
                raise errors.SourceUnreachable(f"the copy of {self._remote.url.text} is broken: {file.path} is missing")
            yield file, bytes(answer[len(head) : len(head) + file.size_bytes])
            answer = answer[len(head) + file.size_bytes + 1 :]

    def _run(self, what: Run, way: Way | None, stop: StopToken, copy: Path | None = None) -> bytes:
        """Run git on the copy, or on no repository at all; without a way it reaches nothing."""
        place = str((copy or Path(os.devnull)).absolute())
        return process.run(
            Run(
                what.arguments,
                settings=(*_ZERO_CONFIG, *what.settings, *(way.settings if way else ())),
                environment={
                    "GIT_DIR": place,
                    "GIT_LITERAL_PATHSPECS": "1",
                    **what.environment,
                    **(way.environment if way else {}),
                },
                protocol=way.protocol if way else "none",
                timeout_s=what.timeout_s,
                max_output_bytes=what.max_output_bytes,
                max_file_bytes=what.max_file_bytes,
                given=what.given,
            ),
            self._clock,
            stop,
        )


def _entry(facts: str, path: str) -> RepositoryFile:
    mode, kind, blob, size = facts.split()
    return RepositoryFile(
        path,
        blob,
        int(size) if size.isdigit() else 0,
        is_link=mode == "120000",
        is_file=kind == "blob" and mode[:2] == "10",
    )


def _told(failed: Failed, credentials: GitCredentials | None) -> str:
    """Return what git said, which may repeat what a server said, without any secret."""
    return str(failed) if credentials is None else credentials.scrub(str(failed))
