"""One pass from a source to storages: what is placed, and what never is."""

import gc
import gzip
import hashlib
import random
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from controller import errors
from controller.engine.transfer import one_pass
from controller.model.digest import Digest
from controller.model.image import Content, Format, Timeouts
from controller.model.transfer import Broken, Placed, Running, TransferRequest
from controller.ports import FetchRequest, StopToken
from controller.reasons import Reason
from tests.unit.engine.transfer import world
from tests.unit.engine.transfer.world import KIB, ScriptedSource, Storages

IMAGE = random.Random(7).randbytes(700 * KIB + 512)
SMALL = random.Random(8).randbytes(20 * KIB)


def sha256(data: bytes) -> Digest:
    return Digest.parse("sha256:" + hashlib.sha256(data).hexdigest())


def run(
    request: TransferRequest,
    source: ScriptedSource,
    storages: Storages,
    report: Callable[[Running], None] = lambda _: None,
) -> Placed | Broken:
    result = one_pass.run(request, source, storages, world.RealClock(), world.NEVER, report, world.PACE)
    assert source.open_bodies == 0
    return result


def placed(result: Placed | Broken) -> Placed:
    assert isinstance(result, Placed), result
    return result


def broken(result: Placed | Broken, reason: Reason, *, terminal: bool) -> Broken:
    assert isinstance(result, Broken), result
    assert (result.failure.reason, result.failure.terminal) == (reason, terminal), result.failure.message
    return result


def content_of(data: bytes) -> Content:
    md5 = Digest.parse("md5:" + hashlib.md5(data).hexdigest())
    return Content(sha256(data), md5, len(data), len(data), Format.RAW, (sha256(data),))


@pytest.mark.parametrize("data", [SMALL, IMAGE], ids=["one buffer", "many buffers"])
def test_the_bytes_are_on_every_target_with_facts_that_an_independent_hash_confirms(data: bytes) -> None:
    storages = world.storages("a", "b", "c")
    result = placed(run(world.request("a", "b", "c"), ScriptedSource(data), storages))
    assert result.content == content_of(data)
    assert result.stored == {"a", "b", "c"}
    assert (result.fetched_bytes, result.resumed_bytes, result.failed) == (len(data), 0, ())
    assert all(storage.contents[sha256(data).hex][1] == data for storage in storages.values())
    assert not any(storages.leftovers().values())


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_the_asked_digest_is_compared_and_recorded(algorithm: str) -> None:
    asked = Digest.parse(f"{algorithm}:{hashlib.new(algorithm, IMAGE).hexdigest()}")
    result = placed(run(world.request(checksum=asked), ScriptedSource(IMAGE), world.storages("a")))
    assert asked in result.content.source_digests
    assert sha256(IMAGE) in result.content.source_digests


def test_wrong_bytes_are_nowhere_and_both_digests_are_told() -> None:
    storages = world.storages("a", "b")
    promised = sha256(b"something else")
    result = run(world.request("a", "b", checksum=promised), ScriptedSource(IMAGE), storages)
    failure = broken(result, Reason.CHECKSUM_MISMATCH, terminal=True).failure
    assert str(promised) in failure.message
    assert str(sha256(IMAGE)) in failure.message
    assert not any(storage.contents for storage in storages.values())
    assert not any(storages.leftovers().values())


def test_other_bytes_than_the_pinned_ones_are_a_changed_source() -> None:
    storages = world.storages("a")
    result = run(world.request(expected=content_of(SMALL)), ScriptedSource(IMAGE), storages)
    failure = broken(result, Reason.SOURCE_CHANGED, terminal=True).failure
    assert sha256(SMALL).hex in failure.message
    assert sha256(IMAGE).hex in failure.message
    assert storages["a"].contents == {}
    assert not any(storages.leftovers().values())


@pytest.mark.parametrize(
    ("error", "terminal"),
    [
        (errors.SourceNotFound("404"), True),
        (errors.AuthenticationFailed("401"), True),
        (errors.PolicyDenied("loopback"), True),
        (errors.SourceUnreachable("503", retry_after=timedelta(seconds=9)), False),
    ],
)
def test_a_refusal_is_passed_on_and_nothing_is_staged(error: errors.GoldmasterError, terminal: bool) -> None:
    storages = world.storages("a")
    result = run(world.request(), ScriptedSource(IMAGE, refuse=error), storages)
    failure = broken(result, error.reason, terminal=terminal).failure
    assert failure.message == str(error)
    assert failure.retry_after == getattr(error, "retry_after", None)
    assert not any(storages.leftovers().values())


def test_a_source_that_is_too_large_leaves_nothing() -> None:
    storages = world.storages("a")
    broken(run(world.request(max_size_bytes=1000), ScriptedSource(IMAGE), storages), Reason.TOO_LARGE, terminal=True)
    assert not any(storages.leftovers().values())


def test_what_is_not_an_image_stops_the_download_early_and_leaves_nothing() -> None:
    storages = world.storages("a", "b")
    source = ScriptedSource(b"<html><title>Please log in</title>" * 20000)
    broken(run(world.request("a", "b"), source, storages), Reason.FORMAT_REJECTED, terminal=True)
    assert source.sent_bytes <= 3 * world.PACE.buffer_bytes
    assert not any(storages.leftovers().values())


@pytest.mark.parametrize(
    ("declared", "iso_expected"), [(Format.QCOW2, False), (Format.VMDK, False), (None, True)], ids=str
)
def test_another_format_than_the_declared_one_is_rejected(declared: Format | None, iso_expected: bool) -> None:
    storages = world.storages("a")
    request = world.request(declared=declared, iso_expected=iso_expected)
    broken(run(request, ScriptedSource(IMAGE), storages), Reason.FORMAT_REJECTED, terminal=True)
    assert not any(storages.leftovers().values())
    assert storages["a"].contents == {}


def test_an_end_that_nothing_proves_is_not_success() -> None:
    storages = world.storages("a")
    result = run(world.request(), ScriptedSource(IMAGE, sized=False), storages)
    assert "no checksum" in broken(result, Reason.SOURCE_UNREACHABLE, terminal=False).failure.message
    assert storages["a"].contents == {}


def test_a_checksum_proves_an_end_that_the_protocol_does_not() -> None:
    request = world.request(checksum=sha256(IMAGE))
    assert placed(run(request, ScriptedSource(IMAGE, sized=False), world.storages("a"))).content == content_of(IMAGE)


def test_a_cut_that_only_the_checksum_shows_is_tried_again() -> None:
    request = world.request(checksum=sha256(IMAGE))
    source = ScriptedSource(IMAGE[:-1], sized=False)
    broken(run(request, source, world.storages("a")), Reason.SOURCE_UNREACHABLE, terminal=False)


# --- storages that fail ------------------------------------------------------------

FULL = errors.NoSpace("full")
GONE = errors.StorageUnavailable("stale file handle")


@pytest.mark.parametrize("call", ["resume_record", "stage", "write", "sync", "publish"])
@pytest.mark.parametrize("error", [FULL, GONE], ids=["full", "gone"])
@pytest.mark.parametrize("failing", ["a", "b"])
def test_a_storage_that_fails_is_dropped_and_the_others_are_filled(
    call: str, error: errors.GoldmasterError, failing: str
) -> None:
    storages = world.storages("a", "b")
    storages[failing].fail[call] = (0, error)
    source = ScriptedSource(IMAGE)
    result = placed(run(world.request("a", "b"), source, storages))
    other = {"a", "b"} - {failing}
    assert result.stored == other
    assert [(uuid, failure.reason) for uuid, failure in result.failed] == [(failing, error.reason)]
    assert source.sent_bytes == len(IMAGE)
    assert storages[failing].contents == {}
    assert not any(storages.leftovers().values())


def test_a_storage_that_is_full_in_the_middle_gives_its_space_back() -> None:
    storages = world.storages("a", "b")
    storages["a"].fail["write"] = (300 * KIB, FULL)
    result = placed(run(world.request("a", "b"), ScriptedSource(IMAGE), storages))
    assert result.stored == {"b"}
    assert not any(storages.leftovers().values())


@pytest.mark.parametrize("call", ["resume_record", "stage", "write", "sync", "publish"])
def test_without_any_storage_the_pass_breaks_with_what_the_storages_said(call: str) -> None:
    storages = world.storages("a", "b")
    for storage in storages.values():
        storage.fail[call] = (0, FULL)
    source = ScriptedSource(IMAGE * 20)
    result = broken(run(world.request("a", "b"), source, storages), Reason.NO_SPACE, terminal=False)
    assert not result.advanced
    if call in {"resume_record", "stage", "write"}:
        assert source.sent_bytes <= 8 * world.PACE.buffer_bytes
    assert not any(storages.leftovers().values())


# --- copies ------------------------------------------------------------


def test_a_copy_reads_the_other_storage_and_never_the_url() -> None:
    storages = world.storages("a", "b")
    placed(run(world.request("a"), ScriptedSource(IMAGE), storages))
    source = ScriptedSource(IMAGE)
    known = storages["a"].contents[sha256(IMAGE).hex][0]
    result = placed(run(world.request("b", key="copy-1", copy_from="a", expected=known), source, storages))
    assert (source.asked, result.content, result.stored) == ([], known, frozenset({"b"}))
    assert storages["b"].contents[sha256(IMAGE).hex] == (known, IMAGE)
    assert not any(storages.leftovers().values())


@pytest.mark.parametrize("recorded", [True, False])
def test_a_copy_has_the_record_of_the_original_whatever_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """A request is made of a status, which more can write than we. Without a record the bytes only name themselves."""
    storages = world.storages("a", "b")
    placed(run(world.request("a"), ScriptedSource(IMAGE), storages))
    known = storages["a"].contents[sha256(IMAGE).hex][0]
    forged = replace(known, source_digests=(Digest.parse("sha256:" + "ef" * 32),))
    if not recorded:
        monkeypatch.setattr(storages["a"], "find", lambda _: None)
    placed(run(world.request("b", key="copy-1", copy_from="a", expected=forged), ScriptedSource(IMAGE), storages))
    assert storages["b"].contents[sha256(IMAGE).hex] == (known, IMAGE)


@pytest.mark.parametrize("data", [IMAGE[:-1] + b"?", IMAGE[:-1], IMAGE + b"?"], ids=["flipped", "cut", "longer"])
def test_a_damaged_original_is_named_and_not_copied(data: bytes) -> None:
    storages = world.storages("a", "b")
    known = content_of(IMAGE)
    storages["a"].contents[known.sha256.hex] = (known, data)
    request = world.request("b", copy_from="a", expected=known)
    failure = broken(run(request, ScriptedSource(IMAGE), storages), Reason.STORAGE_DAMAGED, terminal=False).failure
    assert "storage-a" in failure.message
    assert storages["b"].contents == {}
    assert storages["a"].contents == {}, "it serves nobody any more"
    assert not any(storages.leftovers().values())


# --- waiting ------------------------------------------------------------


def test_a_transfer_that_takes_longer_than_allowed_is_tried_again_later() -> None:
    class Hours(world.RealClock):
        hours = 0.0

        def monotonic(self) -> float:
            self.hours += 1
            return self.hours * 3600

    storages = world.storages("a")
    request = world.request(timeouts=Timeouts(total=timedelta(hours=3)))
    source = ScriptedSource(IMAGE)
    result = one_pass.run(request, source, storages, Hours(), world.NEVER, lambda _: None, world.PACE)
    assert "timeouts.total" in broken(result, Reason.SOURCE_UNREACHABLE, terminal=False).failure.message


def test_progress_is_told_in_source_bytes() -> None:
    told: list[Running] = []
    run(world.request(), ScriptedSource(IMAGE), world.storages("a"), told.append)
    assert [one.bytes for one in told] == sorted(one.bytes for one in told)
    assert told[0] == Running(0, len(IMAGE)), "how large it is shows before the first buffer is full"
    assert told[-1] == Running(len(IMAGE), len(IMAGE))


def test_memory_is_given_back_without_a_garbage_collection() -> None:
    """1,000 small images in a row must not hold 1,000 arenas until the collector comes by."""

    class Watched(ScriptedSource):
        arena: "weakref.ref[object] | None" = None

        def open(self, request: FetchRequest, stop: StopToken) -> world.ScriptedBody:
            body = super().open(request, stop)
            readinto = body.readinto

            def watched(buffer: memoryview) -> int:
                self.arena = weakref.ref(buffer.obj)
                return readinto(buffer)

            body.readinto = watched  # type: ignore[method-assign]
            return body

    gc.collect()
    gc.disable()
    try:
        for data in (SMALL, IMAGE, gzip.compress(IMAGE)):
            source = Watched(data)
            placed(run(world.request(), source, world.storages("a")))
            assert source.arena is not None
            assert source.arena() is None
    finally:
        gc.enable()


def test_a_bug_is_raised_and_leaves_nothing_behind() -> None:
    class Surprising(ScriptedSource):
        pass

    def surprise(position: int) -> None:
        if position > 200 * KIB:
            raise ZeroDivisionError

    storages = world.storages("a", "b")
    source = Surprising(IMAGE, on_read=surprise)
    with pytest.raises(ZeroDivisionError):
        run(world.request("a", "b"), source, storages)
    assert source.open_bodies == 0
    assert not any(storages.leftovers().values())


def test_where_the_bytes_came_from_is_noted_on_every_target() -> None:
    storages = world.storages("a", "b")
    result = placed(run(world.request("a", "b"), ScriptedSource(IMAGE), storages))
    noted = {storage.provenance(result.content.sha256) for storage in storages.values()}
    assert len(noted) == 1
    (known,) = noted.pop()
    assert (known.etag, known.total_bytes, known.source_digests) == ('"v1"', len(IMAGE), (sha256(IMAGE),))
    assert (known.namespace, known.anonymous) == ("default", True)


@pytest.mark.parametrize("source", [ScriptedSource(SMALL, etag='W/"v1"'), ScriptedSource(SMALL, sized=False)])
def test_an_answer_without_a_strong_etag_or_a_length_is_not_noted(source: ScriptedSource) -> None:
    storages = world.storages("a")
    result = placed(run(world.request(checksum=sha256(SMALL)), source, storages))
    assert storages["a"].provenance(result.content.sha256) == ()
