"""A look at a source: what is asked, what comes out, and that no byte is read and no secret shown."""

import hashlib
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from controller import errors
from controller.engine.transfer import look, one_pass
from controller.engine.transfer.lanes import Lanes
from controller.engine.transfer.pool import EmbeddedTransfers
from controller.model.delivery import Sighting, Validator
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, Timeouts
from controller.model.secret import Credentials
from controller.model.transfer import Broken, Looked, Placed, Queued, Running, TransferRequest
from controller.model.url import SourceUrl
from controller.plan.source import LOOK
from controller.ports import FetchRequest, Secrets, StopToken
from controller.reasons import Reason
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeSecrets, secret
from tests.fakes.source import FakeBody, FakeSource, Held
from tests.unit.engine.transfer import world

URL = world.request().url
MIRROR = SourceUrl.parse("http://m1.example/golden.img")
LIST = SourceUrl.parse("http://images.example/SUMS")
DATA = bytes(range(256)) * 80
DIGEST = Digest.parse("sha256:" + hashlib.sha256(DATA).hexdigest())


def request(**changes: object) -> TransferRequest:
    plain = replace(world.request("a"), targets=(), look=True, key=f"{LOOK}1")
    return replace(plain, **changes)  # type: ignore[arg-type]


def source() -> FakeSource:
    held = FakeSource()
    held.put(URL, DATA)
    return held


def run(asked: FakeSource, wanted: TransferRequest | None = None, secrets: Secrets | None = None) -> Looked | Broken:
    result = look.run(wanted or request(), asked, world.RealClock(), world.NEVER, secrets)
    assert asked.open_bodies == 0
    return result


def test_it_says_what_the_source_calls_its_version_and_reads_nothing() -> None:
    asked = source()
    assert run(asked) == Looked(Sighting(Validator('"1"'), len(DATA)))
    assert asked.given_bytes == 0
    assert [(one.url, one.peek) for one in asked.asked] == [(URL, True)]


def test_a_mirror_is_asked_in_place_of_the_url() -> None:
    asked = source()
    asked.put(MIRROR, DATA[:-1])
    assert run(asked, request(mirrors=(MIRROR,))) == Looked(Sighting(Validator('"2"'), len(DATA) - 1))
    assert [one.url for one in asked.asked] == [MIRROR]


def test_a_list_is_read_and_the_image_is_not_asked_for() -> None:
    asked = source()
    asked.put(LIST, f"{DIGEST.hex}  golden.img\n".encode())
    assert run(asked, request(checksum_from=ChecksumFrom(LIST))) == Looked(Sighting(digest=DIGEST))
    assert [one.url for one in asked.asked] == [LIST]


@pytest.mark.parametrize("listed", [None, ChecksumFrom(LIST)])
def test_an_origin_is_asked_for_a_namespace(listed: ChecksumFrom | None) -> None:
    """By a look, a list and a download alike: what an origin bears is had in turn."""
    asked = source()
    asked.put(LIST, f"{DIGEST.hex}  golden.img\n".encode())
    run(asked, request(namespace="team-a", checksum_from=listed))
    fetch = replace(world.request("a", namespace="team-a"), checksum_from=listed)
    one_pass.run(fetch, asked, world.storages("a"), world.RealClock(), world.NEVER, lambda _: None, world.PACE)
    assert {one.url for one in asked.asked} == {URL} | ({LIST} if listed else set())
    assert {one.namespace for one in asked.asked} == {"team-a"}


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (errors.SourceNotFound("404"), Reason.SOURCE_NOT_FOUND),
        (errors.SourceUnreachable("503"), Reason.SOURCE_UNREACHABLE),
        (errors.OriginBusy("busy", retry_after=timedelta(seconds=9)), Reason.QUEUED),
    ],
)
def test_a_refusal_is_told(refusal: errors.GoldmasterError, reason: Reason) -> None:
    asked = source()
    asked.refuse = [refusal]
    result = run(asked)
    assert isinstance(result, Broken)
    assert (result.failure.reason, result.failure.message) == (reason, str(refusal))
    assert result.failure.retry_after == getattr(refusal, "retry_after", None)


def test_a_secret_goes_where_it_may_and_shows_nowhere() -> None:
    kept = secret(URL.origin, token="hunter2-hunter2")
    asked = source()
    asked.held[URL.text] = Held(DATA, '"hunter2-hunter2"')
    assert run(asked, request(secret_ref="mirror"), FakeSecrets(kept)) == Looked(Sighting(Validator(), len(DATA)))
    assert asked.asked[0].credentials == Credentials.of(kept)
    asked.refuse = [errors.ProtocolError("you said hunter2-hunter2")]
    result = run(asked, request(secret_ref="mirror"), FakeSecrets(kept))
    assert isinstance(result, Broken)
    assert result.failure.message == "you said ***"
    asked.put(MIRROR, DATA)
    assert isinstance(run(asked, request(secret_ref="mirror", mirrors=(MIRROR,)), FakeSecrets(kept)), Looked)
    assert asked.asked[-1].credentials is None


def test_an_etag_that_repeats_the_query_is_not_written_down() -> None:
    asked, signed = FakeSource(), SourceUrl.parse(f"{URL.text}?sig=12345678")
    asked.held[signed.text] = Held(DATA, '"sig=12345678"')
    assert run(asked, request(url=signed)) == Looked(Sighting(Validator(), len(DATA)))


def test_a_missing_secret_and_a_stop_are_told_and_nobody_is_asked() -> None:
    asked = source()
    result = run(asked, request(secret_ref="mirror"), FakeSecrets())
    assert isinstance(result, Broken)
    assert result.failure.reason is Reason.DEPENDENCY_NOT_READY
    stop = threading.Event()
    stop.set()
    assert isinstance(look.run(request(), asked, world.RealClock(), stop), Broken)
    assert asked.asked == []


def test_timeouts_total_bounds_a_look_too() -> None:
    asked = source()
    bounded = request(timeouts=Timeouts(total=timedelta(seconds=5)))
    result = look.run(bounded, asked, FakeClock(tick=10), world.NEVER)
    assert isinstance(result, Broken)


# --- beside downloads ------------------------------------------------------------------------------------------------


def lanes(asked: FakeSource, changed: threading.Event) -> Lanes:
    def on_change(_key: str, _owners: frozenset[str]) -> None:
        changed.set()

    def pool() -> EmbeddedTransfers:
        stores = world.storages("a")
        return EmbeddedTransfers(asked, stores, world.RealClock(), on_change, concurrency=1, pace=world.PACE)

    return Lanes(pool(), pool())


def until(transfers: Lanes, key: str, changed: threading.Event) -> object:
    for _ in range(100):
        state = transfers.state(key)
        if not isinstance(state, Queued | Running):
            return state
        changed.wait(60)
        changed.clear()
    raise AssertionError(f"{key} does not end")


def test_a_look_does_not_wait_for_a_download() -> None:
    asked, changed = source(), threading.Event()
    begun, go_on = threading.Event(), threading.Event()
    opened = asked.open

    def open_slowly(one: FetchRequest, stop: StopToken) -> FakeBody:
        if not one.peek:
            begun.set()
            assert go_on.wait(60)
        return opened(one, stop)

    asked.open = open_slowly  # type: ignore[method-assign,assignment]
    transfers = lanes(asked, changed)
    try:
        transfers.start(world.request("a"), "me")
        assert begun.wait(60)
        transfers.start(request(), "me")
        assert until(transfers, f"{LOOK}1", changed) == Looked(Sighting(Validator('"1"'), len(DATA)))
        assert isinstance(transfers.state("get-1"), Running)
        assert transfers.owned("me") == {"get-1", f"{LOOK}1"}
        assert transfers.load() == (0, 1)
        transfers.release(f"{LOOK}1", "me")
        assert transfers.state(f"{LOOK}1") is None
        go_on.set()
        assert isinstance(until(transfers, "get-1", changed), Placed)
    finally:
        go_on.set()
        assert transfers.close(60)


def test_a_bug_in_a_look_takes_nothing_with_it() -> None:
    asked, changed = source(), threading.Event()

    def broken(*_: object) -> object:
        raise RuntimeError("hunter2")

    asked.open = broken  # type: ignore[method-assign,assignment]
    transfers = lanes(asked, changed)
    try:
        transfers.start(request(), "me")
        state = until(transfers, f"{LOOK}1", changed)
        assert isinstance(state, Broken)
        assert (state.failure.reason, state.failure.message) == (Reason.INTERNAL_ERROR, "internal error: RuntimeError")
    finally:
        assert transfers.close(60)
