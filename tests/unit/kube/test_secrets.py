"""Secrets of an API server: what each answer of it means, and that no value gets out on the way."""

import base64
from collections.abc import Iterator
from datetime import timedelta

import pytest

from controller import errors
from controller.kube.client import Client
from controller.kube.secrets import KubeSecrets
from controller.model.secret import KEYS_TYPE, SOURCE_TYPE
from tests.fakes.clock import FakeClock
from tests.unit.kube.api import Api

VALUE = b"hunter2-hunter2"


@pytest.fixture
def secrets(api: Api) -> Iterator[KubeSecrets]:
    client = Client(api.access(), FakeClock())
    yield KubeSecrets(client)
    client.close()


def document(kind: str | None = SOURCE_TYPE, **data: object) -> dict[str, object]:
    return {"kind": "Secret", "metadata": {"resourceVersion": "5"}, "type": kind, "data": data}


@pytest.mark.parametrize("kind", [SOURCE_TYPE, KEYS_TYPE])
def test_each_read_asks_for_this_one_name(api: Api, secrets: KubeSecrets, kind: str) -> None:
    for _ in range(2):
        api.answer(200, document(kind, token=base64.b64encode(VALUE).decode()))
        found = secrets.read("team", "mirror")
        assert (found.namespace, found.name, found.type, found.data) == ("team", "mirror", kind, {"token": VALUE})
    assert [path for _, path, _, _ in api.asked] == ["/api/v1/namespaces/team/secrets/mirror"] * 2


def test_a_name_is_never_a_path(api: Api, secrets: KubeSecrets) -> None:
    """The CRD refuses a slash; one of another version may not."""
    api.answer(404)
    with pytest.raises(errors.DependencyNotReady):
        secrets.read("team", "../../other/secrets/key")
    assert api.asked[0][1] == "/api/v1/namespaces/team/secrets/..%2F..%2Fother%2Fsecrets%2Fkey"


@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/service-account-token", None])
def test_a_secret_that_was_not_made_for_us_is_denied(api: Api, secrets: KubeSecrets, kind: str | None) -> None:
    api.answer(200, document(kind, token="bm90IGZvciB1cw=="))
    with pytest.raises(errors.PolicyDenied, match=f"Secret team/mirror is of type {kind or 'Opaque'}: only"):
        secrets.read("team", "mirror")


def test_who_may_not_read_it_learns_the_command_that_allows_it(api: Api, secrets: KubeSecrets) -> None:
    api.answer(403, {"message": 'secrets "mirror" is forbidden: User "system:serviceaccount:sys:gold" cannot get'})
    with pytest.raises(errors.DependencyNotReady) as caught:
        secrets.read("team", "mirror")
    assert str(caught.value).endswith(
        "kubectl create rolebinding goldmaster-secret-reader --namespace=team "
        "--clusterrole=goldmaster-secret-reader --serviceaccount=sys:gold"
    )
    api.answer(403, {"message": 'secrets "mirror" is forbidden: User "jane" cannot get'})
    with pytest.raises(errors.DependencyNotReady, match="--user=jane"):
        secrets.read("team", "mirror")


@pytest.mark.parametrize(("status", "said"), [(404, "does not exist"), (503, "cannot be read now"), (429, "now")])
def test_what_cannot_be_read_is_waited_for(api: Api, secrets: KubeSecrets, status: int, said: str) -> None:
    api.answer(status, {"message": "because"}, Retry_After="7")
    with pytest.raises(errors.DependencyNotReady, match=f"Secret team/mirror .*{said}") as caught:
        secrets.read("team", "mirror")
    assert caught.value.retry_after == (None if status == 404 else timedelta(seconds=7))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("data", [{"token": "hunter2-hunter2!"}, {"token": 5}, ["hunter2-hunter2"]])
def test_what_is_no_base64_is_named_and_not_shown(api: Api, secrets: KubeSecrets, data: object) -> None:
    api.answer(200, {**document(), "data": data})
    with pytest.raises(errors.DependencyNotReady, match="not base64") as caught:
        secrets.read("team", "mirror")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_version_is_that_of_its_metadata_and_none_where_it_cannot_be_asked(api: Api, secrets: KubeSecrets) -> None:
    api.answer(200, {"kind": "PartialObjectMetadata", "metadata": {"resourceVersion": "5"}})
    assert secrets.version("team", "mirror") == "5"
    assert "PartialObjectMetadata" in api.accepted[-1]
    for status in (403, 404, 503):
        api.answer(status, {})
        assert secrets.version("team", "mirror") == ""
