"""What GitOps tools conclude from our statuses: kstatus by their form, Argo CD by its Lua script."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.engine import life

GITOPS = Path(__file__).resolve().parents[2] / "manifests" / "gitops"
MOMENTS = list(life.moments())
IDS = [name for name, _, _ in MOMENTS]
ARGO = {
    life.CURRENT: "Healthy",
    life.IN_PROGRESS: "Progressing",
    life.FAILED: "Degraded",
    life.TERMINATING: "Progressing",
}


def lua(value: object) -> str:
    """Write a JSON value as Lua has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{lua(key)}] = {lua(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(lua(entry) for entry in value) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
    return json.dumps(value)


def argo(found: dict[str, Any]) -> tuple[str, str]:
    """Return status and message as Argo CD's interpreter, a Lua 5.1, would find them."""
    scripts = yaml.safe_load((GITOPS / "argocd-health.yaml").read_text())["data"]
    script = scripts[f"resource.customizations.health.goldmaster.dev_{found['kind']}"]
    program = f"local function check(obj)\n{script}\nend\nlocal health = check({lua(found)})\n"
    program += 'print(health.status .. "\\n" .. health.message)'
    done = subprocess.run(["lua5.1", "-"], input=program, capture_output=True, text=True, check=True, timeout=60)
    status, message = done.stdout.rstrip("\n").split("\n", 1)
    return status, message


@pytest.mark.parametrize(("name", "found", "meant"), MOMENTS, ids=IDS)
def test_kstatus_reads_our_statuses_as_they_are_meant(name: str, found: dict[str, Any], meant: str) -> None:
    """Only a suspended image is in progress for ever to it: it knows no such thing."""
    assert life.kstatus(found) == (life.IN_PROGRESS if name.startswith("suspended") else meant)


@pytest.mark.needs_lua
@pytest.mark.parametrize(("name", "found", "meant"), MOMENTS, ids=IDS)
def test_argo_cd_shows_what_is_meant(name: str, found: dict[str, Any], meant: str) -> None:
    status, message = argo(found)
    assert status == ("Suspended" if name.startswith("suspended") else ARGO[meant])
    assert message


@pytest.mark.needs_lua
def test_argo_cd_shows_what_is_wrong() -> None:
    found = next(found for name, found, _ in MOMENTS if name.startswith("stalled"))
    assert argo(found) == ("Degraded", "SourceNotFound: 404")


@pytest.mark.needs_lua
@pytest.mark.parametrize("kind", ["Image", "BackupStorage"])
def test_an_object_that_nobody_looked_at_is_progressing(kind: str) -> None:
    assert argo({"kind": kind, "metadata": {"generation": 1}}) == ("Progressing", "not looked at yet")
