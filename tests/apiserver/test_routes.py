"""An API server that is reached as its kubeconfig says: through a proxy, and by another name than that of its URL.

The proxy is real and finds every name on loopback; kubectl with the same file says what that must mean.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver import cluster, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.apiserver.person import Person
from tests.fakes import images as make
from tests.fakes.proxy_server import ProxyServer

pytestmark = pytest.mark.needs_kube
NAMED = "kubernetes.default.svc"
"""A name in the server's certificate."""
PASSWORD = "hunter2/hunter2"
SHOWN_TO_PROXY = base64.b64encode(f"gold:{PASSWORD}".encode()).decode()


@pytest.fixture
def proxy() -> Iterator[ProxyServer]:
    with ProxyServer(PASSWORD) as found:
        yield found


def rewrite(kubeconfig: Path, **fields: object) -> None:
    """Change fields of the cluster of a kubeconfig."""
    document = json.loads(kubeconfig.read_text())
    document["clusters"][0]["cluster"] |= {name.replace("_", "-"): value for name, value in fields.items()}
    kubeconfig.write_text(json.dumps(document))


def through(
    proxy: ProxyServer, kube: cluster.Cluster, server_name: str = NAMED, password: str = PASSWORD
) -> dict[str, str]:
    """Return fields of a cluster whose server has a name that only the proxy finds, and that no certificate has."""
    userinfo = f"gold:{password.replace('/', '%2F')}"
    return {
        "server": f"https://api.invalid:{kube.server.rsplit(':', 1)[1]}",
        "tls_server_name": server_name,
        "proxy_url": f"http://{userinfo}@127.0.0.1:{proxy.port}",
    }


@pytest.fixture
def process(emptied: cluster.Cluster, proxy: ProxyServer, folder: Path) -> Iterator[OperatorProcess]:
    """An operator with no other way to its API server than the proxy."""
    made = OperatorProcess(emptied, folder, "--serve=127.0.0.1:0")
    rewrite(made.kubeconfig, **through(proxy, emptied))
    emptied.kubectl("apply", "-f", "-", stdin=json.dumps(operating.storage("main", made.root / "main")))
    yield made.start()
    assert made.stop() == 0


def test_the_operator_lists_writes_and_watches_through_a_proxy(
    process: OperatorProcess, proxy: ProxyServer, images: ImageServer
) -> None:
    """After the second list the next one is minutes away: what becomes of an image then, the watch has told."""
    process.until(lambda: bool(process.said("serve.listens")))
    process.until(lambda: process.metric("goldmaster_resyncs_total") >= 2)
    operating.apply(process.kube, "default", operating.image("routed", images.add("/routed.raw", make.raw(seed=81))))
    process.wait_for("image/routed", "default")
    port = process.kube.server.rsplit(":", 1)[1]
    assert {line.rpartition(" ")[0] for line in proxy.request_lines} == {f"CONNECT api.invalid:{port}"}
    assert {f"Proxy-Authorization: Basic {SHOWN_TO_PROXY}" in head.decode() for head in proxy.requests} == {True}


def test_a_proxy_that_goes_is_told_of_without_its_password(process: OperatorProcess, proxy: ProxyServer) -> None:
    process.wait_for("backupstorage/main", "default")
    proxy.close()
    process.until(lambda: bool(process.said("kube.kopf")))
    said = Person(process.kubeconfig, "default").runs("get", "images")
    assert said.code == 9
    assert "api.invalid" in said.err
    for secret in (PASSWORD, PASSWORD.replace("/", "%2F"), SHOWN_TO_PROXY):
        assert secret not in process.log_file.read_text() + said.err


def test_verbs_and_kubectl_agree_on_proxies_and_names(
    emptied: cluster.Cluster, proxy: ProxyServer, folder: Path
) -> None:
    """A good name and password; a name that no certificate has; a password that the proxy does not take."""
    pair = {"client-certificate": str(emptied.admin_pair.certificate), "client-key": str(emptied.admin_pair.key)}
    config = emptied.write_kubeconfig(folder / "config", pair)
    operating.apply(emptied, "default", operating.image("seen", "https://images.example/seen.raw"))
    person = Person(config, "default")
    for fields, good in (
        (through(proxy, emptied), True),
        (through(proxy, emptied, server_name="api.invalid"), False),
        (through(proxy, emptied, password="guess"), False),
    ):
        rewrite(config, **fields)
        done = emptied.kubectl(f"--kubeconfig={config}", "get", "images", check=False)
        said = person.runs("get", "images")
        assert (done.returncode == 0, said.code) == (good, 0 if good else 9), (done, said)
        assert ("seen" in done.stdout, "seen" in said.out) == (good, good)
        assert "guess" not in said.err
