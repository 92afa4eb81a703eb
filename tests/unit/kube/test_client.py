"""What each answer of an API server means to us; what the wire does to it; who we say we are."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from controller import errors
from controller.kube.access import Access
from controller.kube.client import Client, Forbidden, Gone
from controller.kube.exec_plugin import Login
from tests.fakes.clock import FakeClock
from tests.unit.kube.api import Api


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, errors.GoldmasterError),
        (401, errors.ClusterDenied),
        (403, errors.ClusterDenied),
        (404, Gone),
        (409, errors.Conflict),
        (410, Gone),
        (422, errors.GoldmasterError),
        (429, errors.ClusterUnavailable),
        (500, errors.ClusterUnavailable),
        (503, errors.ClusterUnavailable),
    ],
)
def test_each_refusal_has_its_meaning(api: Api, client: Client, status: int, raised: type[Exception]) -> None:
    for _ in range(2):
        api.answer(status, {"kind": "Status", "message": "because"})
    with pytest.raises(raised, match=f"{status} because") as caught:
        client.get("/a")
    if raised is errors.GoldmasterError:
        assert not isinstance(caught.value, errors.TransientError)


def test_a_server_that_is_busy_says_for_how_long(api: Api, client: Client) -> None:
    api.answer(429, Retry_After="7")
    with pytest.raises(errors.ClusterUnavailable) as caught:
        client.get("/a")
    assert caught.value.retry_after == timedelta(seconds=7)


def test_a_401_is_asked_once_more_with_a_fresh_token(api: Api, client: Client) -> None:
    api.tokens = ["old", "new"]
    api.answer(401)
    api.answer(200, {"a": 1})
    assert client.get("/a") == {"a": 1}
    assert [asked[2] for asked in api.asked] == ["Bearer old", "Bearer new"]


def test_a_token_that_rotates_is_read_anew_each_minute(api: Api) -> None:
    clock = FakeClock()
    client = Client(api.access(rotates=True), clock)
    client.get("/a")
    client.get("/a")
    assert api.logins == 1
    clock.advance(61)
    client.get("/a")
    assert api.logins == 2
    client.close()


def test_a_token_file_that_says_the_same_costs_no_new_connection(api: Api) -> None:
    """It is read each minute, and changes each hour."""
    api.tokens = ["same", "same", "other"]
    clock = FakeClock()
    client = Client(api.access(rotates=True), clock)
    for _ in range(3):
        client.get("/a")
        clock.advance(61)
    assert (api.logins, api.connections) == (3, 2)
    assert [asked[2] for asked in api.asked] == ["Bearer same", "Bearer same", "Bearer other"]
    client.close()


class Meanwhile:
    """A part of a request that something is done at, after the credentials were chosen."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do

    def __str__(self) -> str:
        self._do()
        return "x"


@pytest.mark.parametrize("refused", [False, True], ids=["rotated", "refused"])
def test_who_has_a_session_in_hand_while_another_thread_logs_in_anew_is_answered(api: Api, refused: bool) -> None:
    """Its connections were closed under it, and what it did failed for ten seconds."""
    api.tokens = ["old", "new"]
    clock = FakeClock()
    client = Client(api.access(rotates=True), clock)
    client.get("/first")

    def log_in() -> None:
        if refused:
            api.answer(401)
        else:
            clock.advance(61)
        client.get("/other")

    client.get("/slow", when=Meanwhile(log_in))  # type: ignore[arg-type]
    assert api.asked[-1][1:3] == ("/slow?when=x", "Bearer old")
    assert api.asked[-2][1:3] == ("/other", "Bearer new")
    client.close()


def test_a_token_is_replaced_before_it_expires(api: Api) -> None:
    clock = FakeClock()
    client = Client(api.access(expires=clock.now() + timedelta(seconds=90)), clock)
    client.get("/a")
    clock.advance(50)
    client.get("/a")
    assert api.logins == 1
    clock.advance(11)
    client.get("/a")
    assert api.logins == 2
    client.close()


def test_an_answer_that_is_not_json_is_no_answer(api: Api, client: Client) -> None:
    api.answer(200, b"<html>")
    with pytest.raises(errors.ClusterUnavailable, match="not JSON"):
        client.get("/a")


def test_nobody_there_is_no_answer() -> None:
    client = Client(Access("http://127.0.0.1:1", Login), FakeClock())
    with pytest.raises(errors.ClusterUnavailable, match="does not answer"):
        client.get("/a")
    client.close()


def test_writes_say_who_wrote_and_are_counted(api: Api, client: Client) -> None:
    client.replace("/a/status", {"status": {}})
    client.merge("/a", {"metadata": {}})
    client.create("/as", {"kind": "A"})
    client.get("/a", limit="5")
    assert [(method, path) for method, path, _, _ in api.asked] == [
        ("PUT", "/a/status?fieldManager=goldmaster&fieldValidation=Strict"),
        ("PATCH", "/a?fieldManager=goldmaster"),
        ("POST", "/as?fieldManager=goldmaster"),
        ("GET", "/a?limit=5"),
    ]
    assert client.writes() == {("update", "other"): 1, ("patch", "other"): 1, ("create", "other"): 1}


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/apis/goldmaster.dev/v1alpha1/namespaces/secret-project/images/debian/status", "images/status"),
        ("/apis/goldmaster.dev/v1alpha1/namespaces/secret-project/images/debian", "images"),
        ("/apis/goldmaster.dev/v1alpha1/backupstorages/main/status", "backupstorages/status"),
        ("/apis/coordination.k8s.io/v1/namespaces/goldmaster-system/leases", "leases"),
        ("/api/v1/namespaces/secret-project/events", "events"),
        ("/api/v1/namespaces/secret-project", "namespaces"),
    ],
)
def test_writes_are_counted_by_what_they_change_never_by_whose(
    api: Api, client: Client, path: str, resource: str
) -> None:
    client.merge(path, {})
    assert client.writes() == {("patch", resource): 1}


def test_a_password_goes_as_basic_authorization(api: Api) -> None:
    client = Client(Access(f"http://127.0.0.1:{api.port}", lambda: Login(basic="a:b")), FakeClock())
    client.get("/a")
    assert api.asked[0][2] == "Basic YTpi"
    client.close()


def test_of_an_object_without_its_contents_only_metadata_is_asked_for(api: Api, client: Client) -> None:
    """An API server honours it; what it sends is shown by tests/apiserver."""
    api.answer(200, {"metadata": {"resourceVersion": "7"}})
    assert client.metadata("/a") == {"metadata": {"resourceVersion": "7"}}
    assert api.accepted == ["application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"]
    client.get("/a")
    assert api.accepted[-1] == "application/json"


def test_a_refusal_names_us_as_the_server_knows_us(api: Api, client: Client) -> None:
    who = "system:serviceaccount:goldmaster-system:goldmaster"
    api.answer(403, {"message": f'secrets "{"long" * 80}" is forbidden: User "{who}" cannot get resource "secrets"'})
    with pytest.raises(Forbidden) as caught:
        client.get("/a")
    assert caught.value.user == who
    assert len(str(caught.value)) < 400


def test_an_answer_that_is_no_json_is_not_carried_along(api: Api, client: Client) -> None:
    """It may be a Secret that was cut short."""
    api.answer(200, b'{"data": {"password": "aHVudGVyMg=="')
    with pytest.raises(errors.ClusterUnavailable, match="not JSON") as caught:
        client.get("/a")
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
