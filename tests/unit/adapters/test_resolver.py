"""Looking up a name takes bounded time and can be stopped."""

import socket
import threading

import pytest

from controller import errors
from controller.adapters.clock import SystemClock
from controller.adapters.sources.resolver import Endpoint, Resolve, resolve_within, system_resolve
from controller.ports import StopToken


def look_up(resolve: Resolve, stop: StopToken | None = None, timeout_s: float = 60) -> list[Endpoint]:
    stop = stop or threading.Event()
    return resolve_within(resolve, "h.example", 80, timeout_s=timeout_s, tick_s=0.01, clock=SystemClock(), stop=stop)


def test_the_system_knows_localhost() -> None:
    found = system_resolve("localhost", 80)
    assert {"127.0.0.1", "::1"} & {endpoint.address for endpoint in found}
    assert all(endpoint.sockaddr[1] == 80 for endpoint in found)


def test_all_answers_are_returned_in_order() -> None:
    answers = [Endpoint(socket.AF_INET, ("192.0.2.1", 80)), Endpoint(socket.AF_INET, ("192.0.2.2", 80))]
    assert look_up(lambda *_: answers) == answers


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_NONAME, socket.EAI_FAIL])
def test_a_failed_lookup_is_tried_again_later(code: int) -> None:
    def fail(host: str, port: int) -> list[Endpoint]:
        raise socket.gaierror(code, "no luck")

    with pytest.raises(errors.SourceUnreachable, match=r"h\.example failed"):
        look_up(fail)


def test_a_name_that_cannot_be_encoded_is_an_error_too() -> None:
    def fail(host: str, port: int) -> list[Endpoint]:
        raise UnicodeError("label too long")

    with pytest.raises(errors.SourceUnreachable, match="label too long"):
        look_up(fail)


def test_no_answer_at_all_is_an_error() -> None:
    with pytest.raises(errors.SourceUnreachable, match="no address"):
        look_up(lambda *_: [])


def test_a_hanging_lookup_is_left_behind() -> None:
    release = threading.Event()

    def hang(host: str, port: int) -> list[Endpoint]:
        release.wait(60)
        return []

    try:
        with pytest.raises(errors.SourceUnreachable, match=r"longer than 0\.05 s"):
            look_up(hang, timeout_s=0.05)
        stop = threading.Event()
        stop.set()
        with pytest.raises(errors.Interrupted):
            look_up(hang, stop)
    finally:
        release.set()
