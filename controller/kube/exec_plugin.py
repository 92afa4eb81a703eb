"""Credentials, and the programs that make them: client.authentication.k8s.io/v1, as kubectl runs exec plugins."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from controller import errors, logs
from controller.model.fields import parse_time

TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Login:
    """What is shown to the server. `repr` shows none of it."""

    token: str | None = field(default=None, repr=False)
    basic: str | None = field(default=None, repr=False)
    """user:password."""
    certificate: bytes | None = field(default=None, repr=False)
    """PEM of the client certificate; goes with `key`."""
    key: bytes | None = field(default=None, repr=False)
    expires: datetime | None = None
    rotates: bool = False
    """Whether it changes behind our back, as a token file does: log in again every minute."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that prints an ExecCredential."""

    command: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    api_version: str


def parse(document: Mapping[str, Any], folder: Path) -> Plugin:
    """Read the `exec` of a kubeconfig's user; a relative command with a slash is relative to the kubeconfig."""
    command = str(document["command"])
    if os.sep in command:
        command = str(folder / command)
    environ = {str(item["name"]): str(item["value"]) for item in document.get("env") or ()}
    return Plugin((command, *map(str, document.get("args") or ())), environ, str(document["apiVersion"]))


def run(plugin: Plugin) -> Login:
    """Run the program and return what it printed.

    Raises:
        ClusterUnavailable: it failed, or printed something else. What it printed is not shown.

    """
    asked = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environ = {**os.environ, **plugin.environ, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    name = Path(plugin.command[0]).name
    try:
        done = subprocess.run(  # noqa: S603  the kubeconfig's owner chose the program, as for kubectl
            plugin.command, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise errors.ClusterUnavailable(f"exec plugin {name}: {exc}") from exc
    if done.returncode:
        said = logs.clip(done.stderr.decode(errors="replace").strip())
        raise errors.ClusterUnavailable(f"exec plugin {name}: exit {done.returncode}: {said}")
    try:
        status = json.loads(done.stdout)["status"]
        expires = status.get("expirationTimestamp")
        return Login(
            token=status.get("token"),
            certificate=_pem(status.get("clientCertificateData")),
            key=_pem(status.get("clientKeyData")),
            expires=None if expires is None else parse_time(expires),
        )
    except (ValueError, KeyError, TypeError, AttributeError, errors.InvalidSpec) as exc:
        raise errors.ClusterUnavailable(f"exec plugin {name} printed no ExecCredential") from exc


def _pem(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
