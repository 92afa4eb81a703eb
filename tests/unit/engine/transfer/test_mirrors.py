"""A transfer with mirrors: who is asked, who is skipped and why, and whose bytes go on with whose."""

import gzip
import hashlib
import random
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import errors
from controller.engine.transfer import one_pass
from controller.engine.transfer.limits import PAGE
from controller.engine.transfer.trail import MIXED
from controller.model.delivery import Skipped
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, Format, Timeouts
from controller.model.secret import Credentials
from controller.model.transfer import Broken, Placed, TransferRequest
from controller.model.url import SourceUrl
from controller.plan import right
from controller.ports import FetchRequest, Secrets
from controller.reasons import Reason
from tests.fakes.clock import FakeClock
from tests.fakes.secrets import FakeSecrets, secret
from tests.fakes.source import FakeSource, Held
from tests.unit.engine.transfer import world
from tests.unit.engine.transfer.world import KIB, Storages

IMAGE = random.Random(3).randbytes(700 * KIB + 512)
OTHER = random.Random(4).randbytes(len(IMAGE))
URL = world.request().url
M1, M2 = SourceUrl.parse("http://m1.example/golden.img?sig=hunter2"), SourceUrl.parse("https://m2.example/other.img")
BLOCK = world.PACE.slice_bytes + PAGE


def sha256(data: bytes) -> Digest:
    return Digest.parse("sha256:" + hashlib.sha256(data).hexdigest())


def request(*mirrors: SourceUrl, **changes: object) -> TransferRequest:
    plain = replace(world.request("a", "b", checksum=sha256(IMAGE)), mirrors=mirrors or (M1, M2))
    return replace(plain, **changes)  # type: ignore[arg-type]


def source(**held: bytes) -> FakeSource:
    """What lies at the url, and at the first and second mirror."""
    fake = FakeSource()
    for name, data in held.items():
        fake.put({"url": URL, "m1": M1, "m2": M2}[name], data)
    return fake


def run(
    asked: FakeSource,
    storages: Storages,
    wanted: TransferRequest | None = None,
    *,
    secrets: Secrets | None = None,
    stop: threading.Event = world.NEVER,
) -> Placed | Broken:
    result = one_pass.run(
        wanted or request(), asked, storages, world.RealClock(), stop, lambda _: None, world.PACE, secrets
    )
    assert asked.open_bodies == 0
    return result


def placed(asked: FakeSource, wanted: TransferRequest | None = None, storages: Storages | None = None) -> Placed:
    """Run; the image, and nothing but it, is on every target."""
    storages = storages or world.storages("a", "b")
    result = run(asked, storages, wanted)
    assert isinstance(result, Placed), result
    assert [list(storage.contents) for storage in storages.values()] == [[sha256(IMAGE).hex]] * 2
    assert not any(storages.leftovers().values())
    return result


def broken(asked: FakeSource, wanted: TransferRequest | None = None) -> Broken:
    """Run; nothing is placed."""
    storages = world.storages("a", "b")
    result = run(asked, storages, wanted)
    assert isinstance(result, Broken), result
    assert not any(storage.contents for storage in storages.values())
    return result


def urls(asked: FakeSource) -> list[SourceUrl]:
    return [one.url for one in asked.asked]


def test_the_url_itself_comes_first_and_is_enough() -> None:
    asked = source(url=IMAGE, m1=IMAGE)
    result = placed(asked)
    assert urls(asked) == [URL]
    assert (result.served_by, result.mirror, result.skipped) == (URL.redacted, None, ())


ABOUT_A_SOURCE = [
    errors.SourceNotFound("404"),
    errors.SourceUnreachable("503"),
    errors.AuthenticationFailed("403"),
    errors.PolicyDenied("an address of ours"),
    errors.ProtocolError("two lengths"),
    errors.FormatRejected("a page"),
    errors.TooLarge("much"),
]


@pytest.mark.parametrize("refusal", ABOUT_A_SOURCE, ids=[type(error).__name__ for error in ABOUT_A_SOURCE])
def test_a_source_that_does_not_serve_is_followed_by_the_next(refusal: errors.GoldmasterError) -> None:
    asked = source(m2=IMAGE)
    asked.refuse_at = {URL.text: refusal}
    with structlog.testing.capture_logs() as logged:
        result = placed(asked)
    assert urls(asked) == [URL, M1, M2]
    assert (result.served_by, result.mirror) == (M2.redacted, M2.redacted)
    assert result.skipped == (
        Skipped(URL.redacted, refusal.reason, str(refusal)),
        Skipped(M1.redacted, Reason.SOURCE_NOT_FOUND, f"{M1.redacted}: nothing there"),
    )
    told = [(line["url"], line["reason"]) for line in logged if line["event"] == "transfer.source_skipped"]
    assert told == [(URL.redacted, refusal.reason), (M1.redacted, Reason.SOURCE_NOT_FOUND)]
    assert "hunter2" not in repr(logged)


def test_a_mirror_with_other_bytes_is_named_and_nothing_of_them_is_kept() -> None:
    asked = source(m1=OTHER, m2=IMAGE)
    result = placed(asked)
    assert result.skipped[1].reason is Reason.CHECKSUM_MISMATCH
    assert result.skipped[1].url == "http://m1.example/golden.img"
    assert result.skipped[1].message == f"expected {sha256(IMAGE)}, got {sha256(OTHER)}"
    assert result.fetched_bytes == len(OTHER) + len(IMAGE)
    assert result.length == len(IMAGE)


def test_a_shorter_or_longer_mirror_is_another_one() -> None:
    for wrong in (IMAGE[:-1], IMAGE + b"x"):
        assert placed(source(m1=wrong, m2=IMAGE)).mirror == M2.redacted


def test_one_url_named_twice_is_asked_once() -> None:
    asked = source()
    broken(asked, request(URL, M1, M1))
    assert urls(asked) == [URL, M1]


def test_what_is_not_about_a_source_asks_no_other() -> None:
    for problem in (errors.StorageUnavailable("stale"), errors.DependencyNotReady("no Secret")):
        asked = source(m1=IMAGE)
        asked.refuse_at = {URL.text: problem}
        assert broken(asked).failure.reason is problem.reason
        assert urls(asked) == [URL]


def test_the_promised_bytes_in_another_format_are_not_asked_for_elsewhere() -> None:
    """Every mirror has the same: eight downloads would say it eight times."""
    asked = source(url=IMAGE, m1=IMAGE)
    result = broken(asked, request(format=Format.VMDK, max_size_bytes=2**40))
    assert result.failure.reason is Reason.FORMAT_REJECTED
    assert len(asked.asked) <= 3  # the header alone says so, before a digest can
    asked = source(url=gzip.compress(IMAGE), m1=gzip.compress(IMAGE))
    packed = request(checksum=sha256(gzip.compress(IMAGE)), max_size_bytes=len(IMAGE) - 1)
    assert broken(asked, packed).failure.reason is Reason.TOO_LARGE


def test_a_server_that_gets_no_more_of_us_now_is_passed_by() -> None:
    asked = source(url=IMAGE, m1=IMAGE)
    asked.refuse_at = {URL.text: errors.OriginBusy("busy", retry_after=timedelta(seconds=10))}
    assert placed(asked).mirror == M1.redacted
    asked.refuse_at = {one.text: asked.refuse_at[URL.text] for one in (URL, M1, M2)}
    failure = broken(asked).failure
    assert (failure.reason, failure.terminal, failure.retry_after) == (Reason.QUEUED, False, timedelta(seconds=10))


def test_an_answer_of_a_mirror_is_remembered_as_the_mirrors() -> None:
    """And what came from two urls as nobody's."""
    storages = world.storages("a", "b")
    placed(source(m1=IMAGE), storages=storages)
    (noted,) = storages["a"].provenances[sha256(IMAGE).hex]
    assert noted.source == right.witness(M1, None)
    asked, storages = source(url=IMAGE, m1=IMAGE), world.storages("a", "b")
    asked.break_at = [500 * KIB]
    assert placed(asked, storages=storages).mirror == M1.redacted
    assert storages["a"].provenances == {}


def test_a_stop_asks_nobody_else() -> None:
    asked, stop = source(m1=IMAGE), threading.Event()
    storages = world.storages("a", "b")

    class Stopping(FakeSource):
        def open(self, one: FetchRequest, token: object) -> object:  # type: ignore[override]
            self.asked.append(one)
            stop.set()
            raise errors.SourceUnreachable("reset")

    asked = Stopping()
    assert isinstance(run(asked, storages, stop=stop), Broken)
    assert len(asked.asked) == 1


def test_timeouts_total_is_for_all_of_them_together() -> None:
    """By a clock on which every look takes ten seconds."""
    asked, clock = source(), FakeClock(tick=10)
    wanted = request(timeouts=Timeouts(total=timedelta(seconds=20)))
    result = one_pass.run(wanted, asked, world.storages("a", "b"), clock, world.NEVER, lambda _: None, world.PACE)
    assert isinstance(result, Broken)
    assert len(asked.asked) < 3


# --- what is said where nobody serves -------------------------------------------------------------------------------


def test_it_is_terminal_only_if_every_source_is() -> None:
    asked = source(m2=OTHER)
    asked.refuse_at = {M1.text: errors.AuthenticationFailed("403")}
    failure = broken(asked).failure
    assert (failure.reason, failure.terminal) == (Reason.AUTHENTICATION_FAILED, True)
    assert failure.message == (
        f"{M1.redacted}: 403; {M2.redacted}: expected {sha256(IMAGE)}, got {sha256(OTHER)}; "
        f"{URL.redacted}: {URL.redacted}: nothing there"
    )
    asked.refuse_at[M1.text] = errors.SourceUnreachable("503", retry_after=timedelta(seconds=9))
    failure = broken(asked).failure
    assert (failure.reason, failure.terminal, failure.retry_after) == (
        Reason.SOURCE_UNREACHABLE,
        False,
        timedelta(seconds=9),
    )
    assert failure.message.startswith(f"{M1.redacted}: 503; {M2.redacted}: expected ")


def test_the_first_that_may_be_asked_again_says_when() -> None:
    asked = source()
    for url, wait in ((URL, 60), (M1, 9), (M2, None)):
        retry_after = None if wait is None else timedelta(seconds=wait)
        asked.refuse_at[url.text] = errors.SourceUnreachable("503", retry_after=retry_after)
    assert broken(asked).failure.retry_after is None
    asked.refuse_at[M2.text] = errors.SourceUnreachable("503", retry_after=timedelta(seconds=30))
    assert broken(asked).failure.retry_after == timedelta(seconds=9)


# --- resume ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [IMAGE, gzip.compress(IMAGE, mtime=0)], ids=["plain", "compressed"])
@pytest.mark.parametrize("named", [True, False], ids=["etag", "no etag"])
def test_a_mirror_goes_on_where_another_source_broke_off(body: bytes, named: bool) -> None:
    asked = source(url=body, m1=body)
    for held in asked.held.values():
        held.etag = held.etag if named else None
    asked.break_at = [500 * KIB]
    result = placed(asked, request(checksum=sha256(body)))
    assert result.mirror == M1.redacted
    assert (asked.asked[1].resume_from, asked.asked[1].whole_bytes) == (500 * KIB, len(body))
    assert asked.asked[1].validator is None
    assert (asked.given_bytes, result.fetched_bytes, result.resumed_bytes) == (len(body), len(body), 0), "in one go"


def test_what_several_sources_brought_is_gone_on_with_by_its_length_only() -> None:
    """The names that each of them has for the whole say nothing of the parts of the others."""
    asked, storages = source(url=IMAGE, m1=IMAGE), world.storages("a", "b")
    asked.break_at = [300 * KIB, 500 * KIB]
    first = run(asked, storages, request(M1))
    assert isinstance(first, Broken)
    (record,) = storages["a"].records.values()
    assert (record.url_id, record.validator.strong, record.witness) == (MIXED, False, None)
    storages["a"].crash()
    result = placed(asked, request(M1), storages)
    assert result.mirror is None
    assert asked.asked[-1].whole_bytes == len(IMAGE)
    assert asked.given_bytes <= len(IMAGE) + BLOCK
    assert storages["a"].provenances == {}


@settings(max_examples=30)
@given(breaks=st.lists(st.integers(0, len(IMAGE) - 1), max_size=5), mirrors=st.integers(0, 2))
def test_however_often_it_breaks_hardly_a_byte_is_fetched_twice(breaks: list[int], mirrors: int) -> None:
    """Across passes and tries, with storages that lose what was not synced."""
    asked = source(url=IMAGE, m1=IMAGE, m2=IMAGE)
    asked.break_at = list(breaks)
    storages = world.storages("a", "b")
    wanted = replace(request(), mirrors=(M1, M2)[:mirrors])
    tries = 0
    while isinstance(run(asked, storages, wanted), Broken):
        tries += 1
        assert tries <= len(breaks)
        for storage in storages.values():
            storage.crash()
    assert asked.given_bytes <= len(IMAGE) + len(breaks) * (BLOCK + world.PACE.buffer_bytes)
    assert all(storage.contents[sha256(IMAGE).hex][1] == IMAGE for storage in storages.values())
    assert not any(storages.leftovers().values())


def test_a_source_that_is_gone_leaves_its_part_to_a_mirror_of_a_later_try() -> None:
    asked = source(url=IMAGE)
    asked.break_at = [500 * KIB]
    storages = world.storages("a", "b")
    first = run(asked, storages)
    assert isinstance(first, Broken)
    assert (first.advanced, first.failure.terminal) == (True, False)
    del asked.held[URL.text]
    asked.put(M2, IMAGE)
    result = placed(asked, storages=storages)
    assert asked.given_bytes <= len(IMAGE) + BLOCK
    assert [one.reason for one in result.skipped] == [Reason.SOURCE_NOT_FOUND] * 2


def test_a_mirror_of_another_length_or_without_ranges_starts_over() -> None:
    for ranges, body in ((True, IMAGE + b"x"), (False, IMAGE)):
        asked = source(url=IMAGE, m1=body)
        asked.break_at, asked.ranges = [500 * KIB], ranges
        storages = world.storages("a", "b")
        result = run(asked, storages, request(M1))
        assert isinstance(result, Placed) is (body == IMAGE)
        assert asked.asked[1].resume_from > 0


def test_parts_that_do_not_fit_are_fetched_once_more_from_one_source() -> None:
    """The url broke off with bytes of its own: who is wrong shows only when one sends it all."""
    asked = source(url=OTHER, m1=IMAGE)
    asked.break_at = [500 * KIB]
    with structlog.testing.capture_logs() as logged:
        result = placed(asked)
    assert result.mirror == M1.redacted
    assert urls(asked) == [URL, M1, M1]
    assert [one.resume_from > 0 for one in asked.asked] == [False, True, False]
    assert [line["event"] for line in logged] == ["transfer.source_skipped", "transfer.mixed"]


def test_the_one_that_is_wrong_also_from_zero_is_skipped() -> None:
    asked = source(url=IMAGE, m1=OTHER, m2=IMAGE)
    asked.break_at = [500 * KIB]
    result = placed(asked)
    assert urls(asked) == [URL, M1, M1, M2]
    assert result.mirror == M2.redacted
    assert result.skipped[1].message == f"expected {sha256(IMAGE)}, got {sha256(OTHER)}"


def test_without_a_digest_only_the_version_that_was_begun_goes_on() -> None:
    asked = source(url=IMAGE)
    asked.break_at = [500 * KIB]
    storages = world.storages("a", "b")
    unpinned = replace(world.request("a", "b"), mirrors=())
    assert isinstance(run(asked, storages, unpinned), Broken)
    asked.held[URL.text] = Held(IMAGE, '"another"')
    result = placed(asked, unpinned, storages)
    assert (result.resumed_bytes, asked.asked[1].whole_bytes) == (0, None)


# --- lists, secrets -------------------------------------------------------------------------------------------------

LIST = SourceUrl.parse("http://images.example/SUMS")


def test_a_list_pins_what_mirrors_must_have_by_the_name_of_the_url() -> None:
    asked = source(m2=IMAGE)
    asked.put(LIST, f"{sha256(IMAGE).hex}  golden.img\n".encode())
    result = placed(asked, request(checksum=None, checksum_from=ChecksumFrom(LIST)))
    assert (result.mirror, result.proof) == (M2.redacted, "checksum list sha256")


def test_a_list_that_names_an_md5_opens_no_mirror() -> None:
    asked = source(m1=IMAGE)
    asked.put(LIST, f"{hashlib.md5(IMAGE).hexdigest()}  golden.img\n".encode())
    failure = broken(asked, request(checksum=None, checksum_from=ChecksumFrom(LIST))).failure
    assert (failure.reason, failure.terminal) == (Reason.SOURCE_NOT_FOUND, True)
    assert failure.message.endswith("; mirrors are not asked, as the checksum list names no sha256 or sha512")
    assert urls(asked) == [LIST, URL]


def test_a_list_that_cannot_be_had_asks_no_source() -> None:
    asked = source(m1=IMAGE)
    failure = broken(asked, request(checksum=None, checksum_from=ChecksumFrom(LIST))).failure
    assert failure.message.startswith(f"the checksum list {LIST.redacted}: ")
    assert urls(asked) == [LIST]


def test_a_secret_goes_to_the_mirrors_that_it_lists_and_to_no_other() -> None:
    kept = secret(f"{URL.origin} {M2.origin}", token="hunter2-hunter2")
    asked = source(m2=IMAGE)
    storages = world.storages("a", "b")
    assert isinstance(run(asked, storages, request(secret_ref="mirror"), secrets=FakeSecrets(kept)), Placed)
    told = Credentials.of(kept)
    assert [(one.url, one.credentials) for one in asked.asked] == [(URL, told), (M1, None), (M2, told)]


def test_a_url_that_the_secret_does_not_list_is_not_asked_but_its_mirrors_are() -> None:
    kept = secret(M2.origin, token="hunter2-hunter2")
    asked = source(url=IMAGE, m2=IMAGE)
    storages = world.storages("a", "b")
    result = run(asked, storages, request(secret_ref="mirror"), secrets=FakeSecrets(kept))
    assert isinstance(result, Placed)
    assert urls(asked) == [M1, M2]
    assert result.skipped[0].reason is Reason.POLICY_DENIED


def test_what_a_source_repeats_of_a_secret_is_in_no_message_and_no_log() -> None:
    kept = secret(URL.origin, token="hunter2-hunter2")
    asked = source(m2=IMAGE)
    asked.refuse_at = {URL.text: errors.ProtocolError("you said hunter2-hunter2")}
    with structlog.testing.capture_logs() as logged:
        result = run(asked, world.storages("a", "b"), request(secret_ref="mirror"), secrets=FakeSecrets(kept))
    assert isinstance(result, Placed)
    assert result.skipped[0].message == "you said ***"
    assert "hunter2" not in repr(logged) + repr(result)
