"""The sandbox around the tests does what it promises; without this a green suite would prove less than it says."""

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests import sandbox

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "host", [None, "", "localhost", "LOCALHOST", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "::1", b"localhost"]
)
def test_numeric_names_and_localhost_need_no_name_server(host: object) -> None:
    assert sandbox.is_loopback_name(host)


@pytest.mark.parametrize("host", ["example.com", "metadata", "localhost.example.com", b"example.com"])
def test_other_names_do(host: object) -> None:
    assert not sandbox.is_loopback_name(host)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        (("127.0.0.1", 80), True),
        (("127.9.9.9", 80), True),
        (("::1", 80, 0, 0), True),
        (("::ffff:127.0.0.1", 80, 0, 0), True),
        ("/run/some.socket", True),
        (("10.0.0.1", 80), False),
        (("169.254.169.254", 80), False),
        (("::ffff:10.0.0.1", 80, 0, 0), False),
        (("fe80::1%eth0", 80, 0, 0), False),
        (("example.com", 80), False),
    ],
)
def test_only_loopback_is_inside(address: object, inside: bool) -> None:
    assert sandbox.is_loopback_address(address) is inside


def test_a_connect_out_of_loopback_raises_and_is_remembered() -> None:
    with socket.socket() as sock, pytest.raises(AssertionError, match="stay on loopback"):
        sock.connect(("192.0.2.1", 80))
    assert len(sandbox.refused) == 1
    sandbox.refused.clear()


def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(AssertionError, match="stay on loopback"):
        socket.getaddrinfo("example.com", 80)
    sandbox.refused.clear()


def test_the_environment_is_the_same_on_every_machine() -> None:
    assert not [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("PIP_", "KUBE"))]
    assert time.tzname == ("UTC", "UTC")


def test_a_running_child_is_found_and_an_ended_one_is_not() -> None:
    known = sandbox.child_processes()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        (found,) = sandbox.wait_for_children(known, time.monotonic())
        assert found.startswith(f"{child.pid} ")
        child.communicate(b"\n")
    assert not sandbox.wait_for_children(known, time.monotonic())


def run_inner_suite(folder: Path, conftest: str, tests: str, **environment: str) -> str:
    """Run a suite of its own under the real tests/conftest.py and return what it printed."""
    (folder / "conftest.py").write_text(f'pytest_plugins = ["tests.conftest"]\nimport tests.conftest\n{conftest}\n')
    (folder / "test_inner.py").write_text(textwrap.dedent(tests))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  needs_nginx\n  needs_kube\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "-rs"]
    command += ["--basetemp", str(folder / "base"), str(folder)]
    inner = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_") and name != "CI"}
    inner |= {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=folder, env=inner, capture_output=True, text=True, check=False).stdout


def test_a_leak_fails_the_test_that_made_it(tmp_path: Path) -> None:
    """A thread, a process, a file left behind, or a connect whose error was swallowed, is an error that says so."""
    out = run_inner_suite(
        tmp_path,
        "tests.conftest.GRACE_S = 0.1",
        """
        import os, signal, socket, subprocess, tempfile, threading

        release = threading.Event()
        children = []

        def test_thread():
            threading.Thread(target=release.wait, args=(60,), daemon=True).start()

        def test_process():
            children.append(subprocess.Popen(["sleep", "60"]))

        def test_file():
            tempfile.mkdtemp()

        def test_settings():
            os.environ["NO_COLOR"] = "1"
            os.chdir("base")
            signal.signal(signal.SIGHUP, lambda *_: None)

        def test_swallowed_connect():
            try:
                socket.create_connection(("192.0.2.1", 80), timeout=1)
            except AssertionError:
                pass

        def test_clean():
            release.set()
            children[0].kill()
            children[0].wait()
        """,
    )
    assert "6 passed, 5 errors" in out
    assert "of this process is changed: environment, working directory, signal handlers" in out
    for told in ("threads still run", "child processes still run", "temporary files are left", "out of loopback"):
        assert told in out


NEEDS_NGINX = """
    import pytest

    @pytest.mark.needs_nginx
    def test_with_nginx():
        pass

    def test_without():
        pass
"""


def test_a_newcomer_is_told_what_was_left_out(tmp_path: Path) -> None:
    out = run_inner_suite(tmp_path, 'tests.conftest.FOUND["needs_nginx"] = None', NEEDS_NGINX)
    assert "LEFT OUT: 1 tests, for want of nginx. To run them: apt-get install nginx-light" in out
    assert "1 passed, 1 skipped" in out


def test_ci_leaves_nothing_out(tmp_path: Path) -> None:
    out = run_inner_suite(tmp_path, 'tests.conftest.FOUND["needs_nginx"] = None', NEEDS_NGINX, CI="true")
    assert "CI leaves nothing out" in out
    assert "1 passed, 1 error" in out


def test_without_an_api_server_a_newcomer_is_told_and_ci_fails(tmp_path: Path) -> None:
    """Of a home with nothing built in it, as of the first `make test` without Go."""
    nothing = dict.fromkeys(("GOLDMASTER_TEST_KUBE", "KUBEBUILDER_ASSETS", "XDG_CACHE_HOME"), "")
    nothing["HOME"] = str(tmp_path)
    needs_kube = NEEDS_NGINX.replace("nginx", "kube")
    out = run_inner_suite(tmp_path, "", needs_kube, **nothing)
    assert "kube-apiserver MISSING" in out
    assert "LEFT OUT: 1 tests, for want of kube-apiserver. To run them: make kube-assets" in out
    assert "1 passed, 1 skipped" in out
    out = run_inner_suite(tmp_path, "", needs_kube, **nothing, CI="true")
    assert "kube-apiserver is missing (to get it: make kube-assets), and CI leaves nothing out" in out
    assert "1 passed, 1 error" in out
