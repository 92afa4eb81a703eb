"""What holds for every test: only loopback, a scrubbed environment, nothing left behind or silently left out.

Checks that can only be made after a test (leaked threads, processes, files; refused connects that the code under test
swallowed) fail that test's teardown.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests import sandbox
from tests.apiserver import assets

pytest_plugins = ["tests.apiserver.fixtures"]
CI = os.environ.get("CI", "").lower() in {"1", "true"}
CAPABILITIES = {
    "needs_nginx": ("nginx", "apt-get install nginx-light"),
    "needs_qemu": ("qemu-img", "apt-get install qemu-utils"),
    "needs_compressors": ("xz, bzip2, zstd", "apt-get install xz-utils bzip2 zstd"),
    "needs_promtool": ("promtool", "apt-get install prometheus"),
    "needs_git": ("git", "apt-get install git"),
    "needs_lua": ("lua5.1", "apt-get install lua5.1"),
    "needs_sshd": ("sshd, ssh", "apt-get install openssh-server openssh-client"),
    "needs_kube": ("kube-apiserver", "make kube-assets"),
}
"""Marker -> (command it needs, how a person gets it)."""
GRACE_S = 30.0
"""How long a thread or process may take to end after its test, on a machine with other things to do."""

assets.remember(os.environ)
sandbox.scrub_environment()
FOUND = {marker: shutil.which(command) for marker, (command, _) in CAPABILITIES.items()}
FOUND["needs_compressors"] = "found" if all(map(shutil.which, ("xz", "bzip2", "zstd"))) else None
FOUND["needs_sshd"] = "found" if all(map(shutil.which, ("sshd", "ssh", "ssh-keygen"))) else None
FOUND["needs_kube"] = os.environ.get(assets.VARIABLE)
hypothesis.settings.register_profile(
    "goldmaster",
    deadline=None,
    print_blob=True,
    derandomize=CI,  # a gate does not draw lots; whoever runs the tests at home does
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # says more about the machine than about the test
)
hypothesis.settings.load_profile("goldmaster")


def pytest_configure() -> None:
    if sys.flags.optimize:
        raise pytest.UsageError("python -O strips the asserts that tests are made of")
    sandbox.forbid_network()


def pytest_report_header() -> str:
    having = ", ".join(f"{command} {FOUND[marker] or 'MISSING'}" for marker, (command, _) in CAPABILITIES.items())
    return f"goldmaster: {having}; {os.cpu_count()} cores; uid {os.getuid()}; CI={str(CI).lower()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this machine cannot do, except in CI, where `pytest_runtest_setup` fails it."""
    if CI:
        return
    for marker in CAPABILITIES:
        if FOUND[marker]:
            continue
        skip = pytest.mark.skip(reason=_why(marker))
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(skip)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in CAPABILITIES:
        if item.get_closest_marker(marker) and not FOUND[marker]:
            pytest.fail(f"{_why(marker)}, and CI leaves nothing out", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line for what this machine could not run."""
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    counts = {marker: sum(_why(marker) in reason for reason in reasons) for marker in CAPABILITIES}
    missing = [marker for marker, count in counts.items() if count]
    if missing:
        commands = ", ".join(CAPABILITIES[marker][0] for marker in missing)
        remedies = "; ".join(CAPABILITIES[marker][1] for marker in missing)
        terminalreporter.write_line(
            f"LEFT OUT: {sum(counts.values())} tests, for want of {commands}. To run them: {remedies}",
            red=True,
            bold=True,
        )


def _why(marker: str) -> str:
    command, remedy = CAPABILITIES[marker]
    return f"{command} is missing (to get it: {remedy})"


@pytest.fixture(scope="session", autouse=True)
def _private_temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Everything that asks for a temporary file gets it here, so that a leftover is seen."""
    private = tmp_path_factory.mktemp("tmpdir")
    before = tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(private)
    yield private
    os.environ.pop("TMPDIR", None)
    tempfile.tempdir = before


@pytest.fixture(autouse=True)
def _logging_not_set_up() -> Iterator[None]:
    """What the code under test sets structlog up with (a level, its standard error) holds for one test."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(_private_temporary_directory: Path) -> Iterator[None]:
    """A test ends with the threads, child processes, temporary files and settings of the process that it began with."""
    sandbox.refused.clear()
    state = sandbox.process_state()
    threads = set(threading.enumerate())
    children = sandbox.child_processes()
    files = set(os.listdir(_private_temporary_directory))
    yield
    problems = [f"connects out of loopback were tried: {sandbox.refused}"] if sandbox.refused else []
    deadline = time.monotonic() + GRACE_S
    for thread in set(threading.enumerate()) - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if leaked := [thread for thread in threading.enumerate() if thread not in threads]:
        problems.append(f"threads still run: {leaked}")
    if started := sandbox.wait_for_children(children, deadline):
        problems.append(f"child processes still run: {started}")
    if leftover := set(os.listdir(_private_temporary_directory)) - files:
        problems.append(f"temporary files are left: {sorted(leftover)}")
    changed = [name for name, value in sandbox.process_state().items() if value != state[name]]
    problems += [f"of this process is changed: {', '.join(changed)}"] if changed else []
    if problems:
        pytest.fail("the test leaves something behind: " + "; ".join(problems), pytrace=False)
