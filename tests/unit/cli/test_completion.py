"""Shell completion: the script, and what it offers."""

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from controller.cli import main
from tests.unit.cli.conftest import Call


def offers(*words: str, incomplete: str = "") -> list[str]:
    completing = ShellComplete(main.cli, {}, main.PROGRAM, "_GOLDMASTER_COMPLETE")
    return [item.value for item in completing.get_completions(list(words), incomplete)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_a_script(call: Call, shell: str) -> None:
    answer = call("completion", shell)
    assert answer.code == 0
    assert "_GOLDMASTER_COMPLETE" in answer.out


def test_verbs_flags_and_kinds_are_offered() -> None:
    assert offers(incomplete="re") == ["reconcile", "resume"]
    assert "--allow-network" in offers("apply", incomplete="--allow")
    assert offers("get", incomplete="") == ["images", "backupstorages"]
    assert offers("get", "images", "-o", incomplete="") == ["table", "wide", "yaml", "json"]


def test_names_and_namespaces_come_from_the_state(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offers("get", "images", "--state", str(state_dir), incomplete="g") == ["good"]
    monkeypatch.setenv("GOLDMASTER_STATE", str(state_dir))
    assert offers("suspend") == ["good", "slow"]
    assert offers("get", "backupstorages") == ["default"]
    assert offers("get", "nonsense") == ["good", "slow"]
    assert offers("get", "images", "-n", incomplete="de") == ["default"]
    assert offers("get", "images", "-n", "other") == []


def test_without_a_state_nothing_is_offered_and_nothing_complains(tmp_path: Path) -> None:
    assert offers("suspend", "--state", str(tmp_path / "none")) == []
    assert offers("suspend") == []
