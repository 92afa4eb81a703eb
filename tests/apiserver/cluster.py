"""Starts etcd, kube-apiserver and kube-controller-manager on loopback, and ends them whatever happens to the tests.

TLS, RBAC and client certificates are as in a cluster that people use. There are no nodes: nothing scheduled ever runs.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.apiserver import assets, client, credentials, processes

KUBECTL_S = 90.0
"""How long one kubectl may take."""
CONTROLLERS = (
    "namespace-controller",  # empties a namespace that is being deleted
    "garbage-collector-controller",  # follows owner references
    "serviceaccount-controller",  # gives each namespace its default account
    "serviceaccount-token-controller",  # fills token Secrets
    "clusterrole-aggregation-controller",  # adds labelled ClusterRoles up to view, edit and admin
)


class Cluster:
    """One API server with its etcd and controllers. Files and processes are its own: `stop` leaves none of them."""

    def __init__(self, binaries: assets.Assets, folder: Path) -> None:
        """Prepare a cluster in `folder`, which is made, private to this user, and removed by `stop`."""
        folder.mkdir(mode=0o700)
        self.binaries = binaries
        self.folder = folder
        # Nothing of the caller's but PATH; kubectl keeps its cache in HOME.
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"}
        self._processes = processes.Processes(folder, self._environ)
        self._authority = credentials.Authority(folder)
        self.serving = self._authority.server()
        """The API server's certificate and key; also for what stands before it."""
        self._token_key = credentials.token_key(folder)
        self.admin_pair = self._authority.client("admin", "system:masters")
        """Client certificate of a user whom RBAC does not bind."""
        self.server = ""
        """https://127.0.0.1:PORT, once started."""
        self.kubeconfig = folder / "kubeconfig"
        """Admin's kubeconfig file."""
        self._admin: client.Client | None = None

    @property
    def authority(self) -> Path:
        """PEM file of the authority that signed the server's certificate."""
        return self._authority.certificate

    @property
    def admin(self) -> client.Client:
        """Return the pooled HTTPS client of admin."""
        assert self._admin is not None, "the cluster is not started"
        return self._admin

    def start(self, crds: Path | None = None) -> None:
        """Start everything, and install the CRDs of a kustomization if one is given.

        They come before the controllers: the garbage collector looks for new kinds only every 30 s.

        Raises:
            processes.NotReady: a process did not come up.
            AssertionError: the API server refuses the CRDs, or warns of them.
        """
        etcd = self._start_etcd()
        self._start_apiserver(etcd)
        if crds is not None:
            self.kubectl("apply", "--server-side", "--warnings-as-errors", "-k", str(crds))
            self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
            # kubectl remembers for hours which kinds there were before
            shutil.rmtree(self.folder / ".kube", ignore_errors=True)
        self._start_controllers()

    @contextlib.contextmanager
    def apiserver_down(self) -> Iterator[None]:
        """Kill the API server for as long as the block lasts, then start it again at the same address."""
        command = self._processes.kill("kube-apiserver")
        try:
            yield
        finally:
            self.admin.close()
            self._processes.start("kube-apiserver", command, self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(client.Unreachable):
            return self.admin.get("/readyz").ok
        return False

    def stop(self) -> None:
        """End all processes and remove the folder. May be called twice."""
        if self._admin is not None:
            self._admin.close()
        self._processes.stop_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as admin. Raises AssertionError with what it said where `check` and it fails."""
        done = subprocess.run(
            [str(self.binaries.kubectl), *arguments],
            env=self._environ | {"KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=KUBECTL_S,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return what `kubectl get ARGUMENTS -o json` prints: an object, or a List."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)
        return found

    def token_for(self, account: str, namespace: str = "default", *, seconds: int = 3600) -> str:
        """Return a token of a service account, by the TokenRequest API. The server grants no less than 600 s."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        answer = self.admin.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", request)
        assert answer.ok, answer.message
        return str(answer.body["status"]["token"])

    def pair_for(self, user: str) -> credentials.Pair:
        """Return a client certificate of a person of this name, who is in no group."""
        return self._authority.client(user)

    def client_for(self, token: str) -> client.Client:
        """Return an HTTPS client that shows this token and nothing else. The caller closes it."""
        return client.Client(self.server, self.authority, token=token)

    def write_kubeconfig(self, path: Path, user: dict[str, Any]) -> Path:
        """Write a kubeconfig file (JSON is YAML) for a user such as {"token": ...}, and return its path."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "clusters": [
                {"name": "tests", "cluster": {"server": self.server, "certificate-authority": str(self.authority)}}
            ],
            "users": [{"name": "tests", "user": user}],
        }
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(document, file)
        return path

    def _start_etcd(self) -> str:
        def command(port: int) -> list[str]:
            url = f"http://127.0.0.1:{port}"
            return [
                str(self.binaries.etcd),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={url}",
                f"--advertise-client-urls={url}",
                "--listen-peer-urls=http://127.0.0.1:0",  # a cluster of one has no peers
                "--unsafe-no-fsync",
            ]

        def ready(port: int) -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
            return False

        return f"http://127.0.0.1:{self._processes.start_listening('etcd', command, ready)}"

    def _start_apiserver(self, etcd: str) -> None:
        def command(port: int) -> list[str]:
            return [
                str(self.binaries.apiserver),
                f"--etcd-servers={etcd}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",  # nobody asks for the Service `kubernetes`
                f"--secure-port={port}",
                f"--tls-cert-file={self.serving.certificate}",
                f"--tls-private-key-file={self.serving.key}",
                f"--client-ca-file={self.authority}",
                f"--service-account-key-file={self._token_key}",
                f"--service-account-signing-key-file={self._token_key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=Node,RBAC",
            ]

        def ready(port: int) -> bool:
            if not self.server.endswith(f":{port}"):
                self.server = f"https://127.0.0.1:{port}"
                self._admin = client.Client(self.server, self.authority, pair=self.admin_pair)
            return self._answers()

        self._processes.start_listening("kube-apiserver", command, ready)
        pair = {"client-certificate": str(self.admin_pair.certificate), "client-key": str(self.admin_pair.key)}
        self.write_kubeconfig(self.kubeconfig, pair)

    def _start_controllers(self) -> None:
        command = [
            str(self.binaries.controller_manager),
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={self._token_key}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._processes.start("kube-controller-manager", command, lambda: self.admin.get(account).ok)
