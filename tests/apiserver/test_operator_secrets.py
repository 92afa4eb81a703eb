"""Secrets in a cluster: who lets the controller read them, what happens until then, and that no value is ever shown."""

import base64
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from pysequoia import SignatureMode, Tsk, sign

from tests.apiserver import cluster, fixtures, operating
from tests.apiserver.image_server import ImageServer
from tests.apiserver.operating import OperatorProcess
from tests.fakes import images as make

pytestmark = pytest.mark.needs_kube
OLD, NEW = "hunter2-hunter2", "correct-horse-battery"


@pytest.fixture(scope="module")
def kube(operated: cluster.Cluster) -> cluster.Cluster:
    """In this module, the API server is the one that has an operator."""
    return operated


@pytest.fixture
def namespace(kube_namespace: str) -> str:
    return kube_namespace


def allow(kube: cluster.Cluster, namespace: str) -> None:
    """Bind the role as manifests/README.md says."""
    account = f"--serviceaccount={operating.NAMESPACE}:{operating.ACCOUNT}"
    role = "goldmaster-secret-reader"
    kube.kubectl("create", "rolebinding", role, f"--namespace={namespace}", f"--clusterrole={role}", account)


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"robot:{password}".encode()).decode()


def put_secret(kube: cluster.Cluster, namespace: str, password: str, origin: str, **fields: object) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mirror"},
        "type": "goldmaster.dev/source",
        "stringData": {"origins": origin, "username": "robot", "password": password},
        **fields,
    }
    kube.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(document))


def put_image(kube: cluster.Cluster, namespace: str, name: str, url: str) -> None:
    document = operating.image(name, url, secretRef={"name": "mirror"})
    kube.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))


def message(kube: cluster.Cluster, namespace: str, name: str) -> str:
    conditions: list[dict[str, Any]] = kube.get("image", name, "-n", namespace)["status"]["conditions"]
    return str(next(entry["message"] for entry in conditions if entry["type"] == "Ready"))


def becomes(operator: OperatorProcess, namespace: str, name: str, *ready: str) -> None:
    kube = operator.kube
    operator.until(lambda: operating.ready(kube.get("image", name, "-n", namespace)) == ready)


def origin_of(images: ImageServer) -> str:
    return f"http://127.0.0.1:{images.port}"


def test_a_namespace_that_allows_nothing_is_told_the_command_and_running_it_is_enough(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    url = images.add("/bound.raw", make.raw(seed=1))
    images.guards["/bound.raw"] = basic(OLD)
    put_secret(kube, namespace, OLD, origin_of(images))
    put_image(kube, namespace, "bound", url)
    becomes(operator, namespace, "bound", "False", "DependencyNotReady")
    assert images.asked("/bound.raw") == 0
    said = message(kube, namespace, "bound")
    command = shlex.split(said[said.index("kubectl create rolebinding") :])
    assert command[0] == "kubectl"
    kube.kubectl(*command[1:])
    becomes(operator, namespace, "bound", "True", "Succeeded")
    assert images.asked("/bound.raw") == 1


def test_a_secret_that_comes_later_is_waited_for(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    allow(kube, namespace)
    url = images.add("/later.raw", make.raw(seed=2))
    images.guards["/later.raw"] = basic(OLD)
    put_image(kube, namespace, "later", url)
    becomes(operator, namespace, "later", "False", "DependencyNotReady")
    assert message(kube, namespace, "later") == f"Secret {namespace}/mirror does not exist"
    put_secret(kube, namespace, OLD, origin_of(images))
    becomes(operator, namespace, "later", "True", "Succeeded")
    assert "attempts" not in kube.get("image", "later", "-n", namespace)["status"]


def test_a_secret_of_another_type_goes_nowhere(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """Even where the controller may read it: its own account's token, for example."""
    allow(kube, namespace)
    put_secret(kube, namespace, OLD, origin_of(images), type="Opaque")
    put_image(kube, namespace, "opaque", images.add("/opaque.raw", make.raw(seed=3)))
    becomes(operator, namespace, "opaque", "False", "PolicyDenied")
    assert "is of type Opaque" in message(kube, namespace, "opaque")
    assert images.asked("/opaque.raw") == 0


def test_a_rotated_secret_mends_what_was_refused_and_no_value_is_shown_anywhere(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """The source repeats in its refusal what it was told."""
    allow(kube, namespace)
    url = images.add("/rotated.raw", make.raw(seed=4))
    images.guards["/rotated.raw"] = basic(NEW)
    put_secret(kube, namespace, OLD, origin_of(images))
    put_image(kube, namespace, "rotated", url)
    becomes(operator, namespace, "rotated", "False", "AuthenticationFailed")
    assert images.asked("/rotated.raw") == 1
    put_secret(kube, namespace, NEW, origin_of(images))
    becomes(operator, namespace, "rotated", "True", "Succeeded")
    assert images.asked("/rotated.raw") == 2
    described = kube.kubectl("describe", "image", "rotated", "-n", namespace).stdout
    assert "AuthenticationFailed" in described
    shown = described + kube.kubectl("get", "image,events", "-n", namespace, "-o", "yaml").stdout
    shown += operator.log_file.read_text()
    kept = b"".join(path.read_bytes() for path in operator.root.rglob("*") if path.is_file())
    for value in (OLD, NEW, basic(OLD).split()[1], basic(NEW).split()[1]):
        assert value not in shown
        assert value.encode() not in kept


def test_the_binding_is_for_its_namespace_and_for_single_names(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess
) -> None:
    """As the server itself judges the account that the operator runs under."""
    allow(kube, namespace)

    def may(verb: str, *where: str) -> bool:
        account = f"system:serviceaccount:{operating.NAMESPACE}:{operating.ACCOUNT}"
        asked = kube.kubectl("auth", "can-i", verb, "secrets/mirror", f"--as={account}", *where, check=False)
        return asked.stdout.strip() == "yes"

    fixtures.eventually(lambda: may("get", "-n", namespace))  # the server has to see its own binding first
    assert not may("get", "-n", f"{namespace}-other")
    assert not may("get", "-n", operating.NAMESPACE)
    for verb in ("list", "watch", "update", "patch", "create", "delete"):
        assert not may(verb, "-n", namespace), verb


def test_only_metadata_is_read_to_learn_of_a_rotation(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    from controller.kube import access
    from controller.kube.client import Client
    from controller.kube.secrets import KubeSecrets
    from tests.fakes.clock import FakeClock

    put_secret(kube, namespace, OLD, origin_of(images))
    client = Client(access.from_kubeconfig(kube.kubeconfig), FakeClock())
    try:
        found = client.metadata(f"/api/v1/namespaces/{namespace}/secrets/mirror")
        assert (found["kind"], "data" in found) == ("PartialObjectMetadata", False)
        secrets = KubeSecrets(client)
        before = secrets.version(namespace, "mirror")
        put_secret(kube, namespace, NEW, origin_of(images))
        assert before != secrets.version(namespace, "mirror") != ""
        assert secrets.read(namespace, "mirror").data["password"] == NEW.encode()
    finally:
        client.close()


def test_who_administers_a_namespace_may_bind_the_role_and_needs_nobody_else(
    kube: cluster.Cluster, namespace: str, tmp_path: Path
) -> None:
    """The cluster's role `admin` has all that the ClusterRole gives: RBAC lets them pass it on."""
    kube.kubectl("create", "serviceaccount", "boss", "-n", namespace)
    boss = f"--serviceaccount={namespace}:boss"
    kube.kubectl("create", "rolebinding", "admin", "-n", namespace, "--clusterrole=admin", boss)
    config = kube.write_kubeconfig(tmp_path / "boss", {"token": kube.token_for("boss", namespace)})
    role = "goldmaster-secret-reader"
    account = f"--serviceaccount={operating.NAMESPACE}:{operating.ACCOUNT}"
    allowing = ["create", "rolebinding", role, "-n", namespace, f"--clusterrole={role}", account]
    # until the server has seen the binding
    fixtures.eventually(lambda: kube.kubectl(f"--kubeconfig={config}", *allowing, check=False).returncode == 0)


def test_a_keyring_that_is_replaced_mends_a_signature_that_was_not_believed(
    kube: cluster.Cluster, namespace: str, operator: OperatorProcess, images: ImageServer
) -> None:
    """A publisher signs with a new key; the image waits for whoever keeps the keys, and for nobody else."""
    allow(kube, namespace)
    old, new = Tsk.generate("publisher, last year"), Tsk.generate("publisher")
    content = make.raw(seed=8)
    url = images.add("/signed.raw", content)
    sums = f"{hashlib.sha256(content).hexdigest()}  signed.raw\n".encode()
    listed: dict[str, Any] = {"url": images.add("/SHA256SUMS", sums)}
    signature = images.add("/SHA256SUMS.gpg", sign(new.signer(), sums, mode=SignatureMode.DETACHED))
    listed["signature"] = {"url": signature, "keyRef": {"name": "keys"}}

    def trust(key: Tsk) -> None:
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "type": "goldmaster.dev/keys",
            "stringData": {"publisher": str(key.extract_certificate())},
        }
        kube.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(document))

    trust(old)
    document = operating.image("signed", url, checksumFrom=listed)
    kube.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))
    becomes(operator, namespace, "signed", "False", "SignatureInvalid")
    assert images.asked("/signed.raw") == 0
    trust(new)
    becomes(operator, namespace, "signed", "True", "Succeeded")
    assert kube.get("image", "signed", "-n", namespace)["status"]["current"]["proof"] == "signed list sha256"
    assert images.asked("/signed.raw") == 1
