"""A real sshd on a free port of loopback, as root or as an ordinary user, gone when its block ends."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.loopback import free_port

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AcceptEnv GIT_PROTOCOL
LogLevel ERROR
"""
_START_S = 60.0
_TRIES = 5


@dataclass(frozen=True)
class Sshd:
    """Where it is, and what a client needs."""

    port: int
    user: str
    folder: Path

    @property
    def identity(self) -> bytes:
        """The private key that is let in."""
        return (self.folder / "identity").read_bytes()

    @property
    def known_hosts(self) -> bytes:
        """The line that trusts the server."""
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {key}\n".encode()

    def url(self, path: Path) -> str:
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"


def make_key(path: Path) -> None:
    """Make a key pair, `path` and `path`.pub."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Sshd]:
    """Run it while the block runs; whoever runs the tests can log in with `identity`."""
    program = shutil.which("sshd")
    assert program is not None
    folder.mkdir()
    for name in ("host", "identity"):
        make_key(folder / name)
    shutil.copy(folder / "identity.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        # where it gives up its rights before a login; only its service makes it
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for _ in range(_TRIES):
        port = free_port()
        (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
        command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            if _listens(process, port):
                yield Sshd(port, pwd.getpwuid(os.geteuid()).pw_name, folder)
                return
        finally:
            process.terminate()
            process.wait(30)
    raise AssertionError(f"sshd does not start: {(folder / 'log').read_text()}")


def _listens(process: "subprocess.Popen[bytes]", port: int) -> bool:
    pause = threading.Event()
    for _ in range(int(_START_S / 0.05)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        if process.poll() is not None:
            return False
        pause.wait(0.05)
    return False
