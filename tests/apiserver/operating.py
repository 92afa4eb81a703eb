"""Runs `goldmaster operator` as a process of its own against a test's API server, with the rights of its manifests."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3
import yaml

from tests.apiserver import cluster, fixtures

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "goldmaster-system"
ACCOUNT = "goldmaster"
STOP_S = 60.0


def install_rights(kube: cluster.Cluster) -> None:
    """Apply the namespace and the RBAC of manifests/, exactly as a cluster gets them."""
    built = kube.kubectl("kustomize", str(ROOT / "manifests" / "controller")).stdout
    wanted = {"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    documents = [document for document in yaml.safe_load_all(built) if document["kind"] in wanted]
    assert {document["kind"] for document in documents} == wanted
    kube.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(documents))


class OperatorProcess:
    """One replica. Storages lie below `root`; sources on loopback are allowed."""

    def __init__(
        self, kube: cluster.Cluster, folder: Path, *flags: str, name: str = "operator", port: int | None = None
    ) -> None:
        """Prepare it. `port`: of a line to the API server that a test holds in its hands. Names tell replicas apart."""
        self.kube = kube
        self.root = folder / "storage"
        self.root.mkdir(exist_ok=True)
        self.log_file = folder / f"{name}.log"
        self.log_file.touch()
        self.token_file = folder / f"{name}.token"
        self.token_file.write_text(kube.token_for(ACCOUNT, NAMESPACE))
        # whoever has this has the rights of its Pod
        self.kubeconfig = kube.write_kubeconfig(folder / f"{name}.kubeconfig", {"tokenFile": str(self.token_file)})
        config = json.loads(self.kubeconfig.read_text())
        config["contexts"][0]["context"]["namespace"] = NAMESPACE
        if port is not None:
            config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        self.kubeconfig.write_text(json.dumps(config))
        self.environ: dict[str, str] = {}
        """Beside what every operator gets; set before `start`."""
        self.module: tuple[str, ...] = ("controller",)
        """What python runs, with its first arguments."""
        self._flags = flags
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> "OperatorProcess":
        command = [sys.executable, "-m", *self.module, "operator", f"--kubeconfig={self.kubeconfig}"]
        options = [f"--storage-root={self.root}", "--allow-network=127.0.0.0/8", *self._flags]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.log_file.parent), "POD_NAME": self._name}
        environ |= self.environ
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it does not stop within {STOP_S:g} s:\n{self.tail()}") from None

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it where it is, as a node that hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def probe(self, path: str) -> tuple[int, str]:
        """Ask its own HTTP server, of an operator started with --serve=127.0.0.1:0."""
        address = self.said("serve.listens")[-1]["message"]
        answer = urllib3.request("GET", f"http://{address}{path}", timeout=60, retries=False)
        return answer.status, answer.data.decode()

    def metric(self, name: str) -> float:
        """Return a metric, summed over its labels; 0 where there is none yet."""
        page = self.probe("/metrics")[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in page if line.replace("{", " ").split()[0] == name)

    def lines(self) -> list[dict[str, Any]]:
        """Return what it logged, without a line that it is just writing."""
        whole = self.log_file.read_text().split("\n")[:-1]
        return [json.loads(line) for line in whole if line.startswith("{")]

    def said(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of an event."""
        return [line for line in self.lines() if line["event"] == event]

    def tail(self) -> str:
        """Return the end of the log, for an error."""
        return self.log_file.read_text()[-6000:]

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what it does; the error shows its log."""
        try:
            fixtures.eventually(holds)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.tail()}") from None

    def wait_for(self, what: str, namespace: str, condition: str = "Ready") -> None:
        """Let kubectl wait for a condition of an object; the error shows the log of the operator."""
        waiting = [
            "wait",
            f"--for=condition={condition}",
            f"--timeout={fixtures.EVENTUALLY_S:g}s",
            "-n",
            namespace,
            what,
        ]
        done = self.kube.kubectl(*waiting, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self.tail()}"

    def stored(self, storage: str = "main") -> set[str]:
        """Return the sha256 of every file of a storage that has a final name."""
        files = [path for path in (self.root / storage / "objects").rglob("*") if path.is_file()]
        return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.suffix != ".json"}


def apply(kube: cluster.Cluster, namespace: str, document: dict[str, Any], *flags: str) -> str:
    """Let kubectl apply a document; return what it says."""
    return kube.kubectl("apply", *flags, "-n", namespace, "-f", "-", stdin=json.dumps(document)).stdout


def storage(name: str, path: Path, **spec: object) -> dict[str, Any]:
    """Return a BackupStorage that reserves nothing, so that a small disk will do."""
    block = {"type": "ImageStore", "imageStore": {"path": str(path)}, "reservedCapacity": "0", **spec}
    return {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "BackupStorage", "metadata": {"name": name}, "spec": block}


def image(name: str, url: str, **spec: object) -> dict[str, Any]:
    """Return an Image."""
    return {
        "apiVersion": "goldmaster.dev/v1alpha1",
        "kind": "Image",
        "metadata": {"name": name},
        "spec": {"url": url, **spec},
    }


def kept_bytes(storage_path: Path) -> int:
    """Return how much of a transfer its resume records promise to keep, over a kill -9 too."""
    offsets = []
    for record in (storage_path / "staging").glob("*.json"):
        with contextlib.suppress(OSError, ValueError):
            offsets.append(int(json.loads(record.read_text()).get("durableBytes", 0)))
    return max(offsets, default=0)


def arrived_bytes(found: dict[str, Any]) -> int:
    """Return how far a transfer is, as the image's status says: what a server has sent may still be under way."""
    return int(found.get("status", {}).get("progress", {}).get("bytes", 0))


def ready(found: dict[str, Any]) -> tuple[str, str]:
    """Return status and reason of the Ready condition, empty where there is none, or none of this generation."""
    status = found.get("status", {})
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return "", ""
    for condition in status.get("conditions", []):
        if condition["type"] == "Ready":
            return condition["status"], condition["reason"]
    return "", ""
