"""The frame of the command line: help, variables, exit codes, errors, laziness."""

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from controller import errors
from controller.cli import exits, main
from controller.reasons import Reason
from tests.unit.cli.conftest import Call

HEAVY = ("rich", "urllib3", "jsonschema", "watchdog", "oslo_utils", "zstandard", "yaml", "re2", "structlog", "kopf")


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(main.cli)
    for name in main.VERBS:
        command = main.cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", found) for below, found in command.commands.items())


COMMANDS = dict(commands())


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_flag_has_its_variable_and_says_so(verb: str, call: Call) -> None:
    """--allow-path is GOLDMASTER_ALLOW_PATH, whichever verb takes it."""
    page = " ".join(call(*verb.split(), "--help").out.split())
    for parameter in COMMANDS[verb].params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            long = next(flag for flag in parameter.opts if flag.startswith("--"))
            variable = "GOLDMASTER_" + long.removeprefix("--").replace("-", "_").upper()
            assert parameter.envvar == variable
            assert f"env var: {variable}" in page
            assert parameter.help


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_help_page_has_the_exit_codes_and_the_line_of_the_overview(verb: str, call: Call) -> None:
    page = call(*verb.split(), "--help").out
    for code, meaning in exits.MEANINGS.items():
        assert f"{code:>3}  {meaning}" in page
    assert COMMANDS[verb].short_help == (main.VERBS[verb][2] if verb in main.VERBS else COMMANDS[verb].short_help)


def test_the_overview_has_every_verb(call: Call) -> None:
    answer = call("--help")
    assert answer.code == 0
    for verb, (_, _, line) in main.VERBS.items():
        assert f"  {verb} " in answer.out
        assert line in answer.out


def test_every_error_class_has_a_documented_code() -> None:
    members = [entry for _, entry in inspect.getmembers(errors, inspect.isclass)]
    classes = [entry for entry in members if issubclass(entry, errors.GoldmasterError)]
    assert len(classes) > 15
    assert {entry.exit_code for entry in classes} <= set(exits.MEANINGS)
    assert len(set(exits.MEANINGS.values())) == len(exits.MEANINGS)


@pytest.mark.parametrize(
    ("reasons", "code"),
    [
        ([], 0),
        ([Reason.POLICY_DENIED], 5),
        ([Reason.POLICY_DENIED, Reason.POLICY_DENIED], 5),
        ([Reason.NO_SPACE, Reason.STORAGE_UNAVAILABLE], 6),
        ([Reason.POLICY_DENIED, Reason.NO_SPACE], 4),
        ([Reason.SOURCE_NOT_FOUND], 4),
        ([None], 4),
    ],
)
def test_apply_ends_with_the_code_that_all_failures_share(reasons: list[Reason | None], code: int) -> None:
    assert exits.of_reasons(reasons) == code


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (errors.StateLocked("in use"), 7, "goldmaster: in use\n"),
        (errors.NotFound("not there"), 8, "goldmaster: not there\n"),
        (errors.Interrupted("stopped"), 130, "goldmaster: stopped\n"),
        (click.UsageError("wrong"), 2, "Error: wrong\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_a_line_and_a_code(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    @click.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: fail)
    answer = call("get")
    assert answer.code == code
    assert answer.err.endswith(told)
    assert answer.out == ""


def test_a_bug_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: fail)
    with pytest.raises(ZeroDivisionError):
        main.run(["get"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["aply"], "Did you mean apply?"),
        (["xyzzy"], "There is no verb 'xyzzy'."),
        (["get"], "Missing argument 'KIND'"),
        (["get", "images"], "Missing option '--state' (or --kube)"),
        (["get", "images", "--state", "s", "--kube"], "in one or in the other"),
        (["get", "images", "--state", "s", "--context", "c"], "--context goes with --kube"),
        (["get", "images", "--kube", "--kubeconfig", "/no/such/file"], "does not exist"),
        (["get", "imgs", "--state", "s"], "there is no kind 'imgs'"),
        (["apply", "--state", "s"], "Missing argument 'PATH...'"),
        (["apply", "x", "--state", "s", "--allow-network", "10.0.0.1/8"], "has host bits set"),
        (["apply", "x", "--state", "s", "--timeout", "soon"], "a duration is written like"),
        (["apply", "x", "--state", "s", "--max-size", "big"], "a size is a number of bytes"),
        (["run", "x", "--state", "s", "--scrub-rate", "0"], "0 is less than 1Mi"),
        (["apply", "x", "--state", "s", "--allow-path", "/no/such/place"], "does not exist"),
        (["suspend", "backupstorage/x", "--state", "s"], "only images can be suspended"),
        (["verify", "--state", "s"], "name the images to verify, or say --all"),
    ],
)
def test_a_wrong_command_line_is_explained(call: Call, arguments: list[str], told: str) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert told in " ".join(answer.err.split())


def test_the_version_is_told(call: Call) -> None:
    assert call("--version").out.startswith("goldmaster 0.")


def test_reading_verbs_import_nothing_heavy(state_dir: Path) -> None:
    """They answer within half a second, most of which is Python's own start."""
    script = f"""
import sys
from controller.cli import main
for verb in (["get", "images"], ["get", "images", "-o", "yaml"], ["describe", "image", "good"], ["inventory"]):
    assert main.run([*verb, "--state", {str(state_dir)!r}]) == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_reader_that_has_enough_is_no_error(state_dir: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "controller", "get", "images", "-o", "json", "--state", str(state_dir)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
