"""A real nginx on a free port of loopback, as root or as an ordinary user, gone when its block ends."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.loopback import free_port

CONFIG = """\
{user}daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log; sendfile on; tcp_nopush on; keepalive_requests 100000;
    default_type application/octet-stream;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{ listen 127.0.0.1:{port}; root {served}; {server} }}
}}
"""
_START_S = 60.0
_TRIES = 5


class NginxFailed(Exception):
    """It is not installed, or did not start; the message holds its error log."""


@contextlib.contextmanager
def nginx(served: Path, folder: Path, server: str = "") -> Iterator[str]:
    """Serve the files below `served` while the block runs; yield the base URL, without a slash at its end.

    `folder` takes its configuration, logs (`access.log`, `error.log`) and temporary files. `server`: more directives
    for the server block.
    """
    program = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if program is None:
        raise NginxFailed("nginx is missing (Debian: nginx-light)")
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        port = free_port()
        process = _launch(program, folder, served, port, server)
        try:
            if _listens(process, port):
                yield f"http://127.0.0.1:{port}"
                return
        finally:
            _end(process)
    log = folder / "error.log"
    raise NginxFailed(f"nginx does not start: {log.read_text() if log.exists() else 'no log'}")


def _launch(program: str, folder: Path, served: Path, port: int, server: str) -> "subprocess.Popen[bytes]":
    # As root it would give up root and then fail to read a private temporary directory.
    user = "user root; " if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(user=user, folder=folder, served=served, port=port, server=server))
    with (folder / "output.log").open("wb") as log:
        arguments = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
        return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _listens(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait until it answers; False where it ended instead, because somebody else took the port, say."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process.poll() is None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(30)
