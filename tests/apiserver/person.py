"""A person with a kubeconfig of their own who runs `goldmaster VERB --kube`, and what the command said."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.apiserver import cluster, operating

GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Person:
    """Has the rights of some ClusterRoles in one namespace, which is that of the kubeconfig's context."""

    kubeconfig: Path
    namespace: str

    def runs(self, *arguments: str | Path, kube: bool = True, **environ: str) -> Said:
        """Run the command, as a shell would."""
        where = {"PATH": os.environ["PATH"], "HOME": str(self.kubeconfig.parent), "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [sys.executable, "-m", "controller", *map(str, arguments), *(["--kube"] if kube else [])],
            cwd=operating.ROOT,
            env=where | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def well(self, *arguments: str | Path) -> str:
        """Run it with --kube, expect no complaint, and return what it printed."""
        said = self.runs(*arguments)
        assert (said.code, said.err) == (0, ""), said
        return said.out


def with_roles(kube: cluster.Cluster, namespace: str, name: str, *roles: str) -> Person:
    """Make a service account with roles in its namespace, and its kubeconfig. As a person, it lives in the tests."""
    bindings = [
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{name}-{role}", "namespace": namespace},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        for role in roles
    ]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    made = {"apiVersion": "v1", "kind": "List", "items": [account, *bindings]}
    kube.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    folder = kube.folder / f"{namespace}-{name}"
    folder.mkdir(exist_ok=True)
    user = {"token": kube.token_for(name, namespace)}
    return Person(kubeconfig(kube, folder, user, namespace), namespace)


def kubeconfig(kube: cluster.Cluster, folder: Path, user: dict[str, Any], namespace: str) -> Path:
    """Write a kubeconfig with a namespace in its context."""
    path = kube.write_kubeconfig(folder / "kubeconfig", user)
    document = json.loads(path.read_text())
    document["contexts"][0]["context"]["namespace"] = namespace
    path.write_text(json.dumps(document))
    return path
