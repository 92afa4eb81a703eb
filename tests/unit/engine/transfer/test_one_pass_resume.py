"""What a broken pass leaves, and what a later one makes of it."""

import gzip
import hashlib
import random
import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import errors
from controller.engine.transfer import berths, one_pass
from controller.engine.transfer.limits import PAGE
from controller.model.digest import Digest
from controller.model.transfer import Broken, Placed, TransferRequest
from controller.ports import FetchRequest, StopToken
from tests.fakes.clock import FakeClock
from tests.unit.engine.transfer import world
from tests.unit.engine.transfer.world import KIB, ScriptedSource, Storages

IMAGE = random.Random(7).randbytes(700 * KIB + 512)
OTHER = random.Random(9).randbytes(700 * KIB + 512)
PACKED = gzip.compress(IMAGE, mtime=0)
BLOCK = world.PACE.slice_bytes + PAGE
"""What one interruption may cost at the most: a slice in flight, and the cut to whole pages."""


def sha256(data: bytes) -> Digest:
    return Digest.parse("sha256:" + hashlib.sha256(data).hexdigest())


def run(
    request: TransferRequest, source: ScriptedSource, storages: Storages, stop: threading.Event = world.NEVER
) -> Placed | Broken:
    result = one_pass.run(request, source, storages, world.RealClock(), stop, lambda _: None, world.PACE)
    assert source.open_bodies == 0
    return result


def until_placed(request: TransferRequest, source: ScriptedSource, storages: Storages) -> tuple[Placed, list[Broken]]:
    """Try again after each break, in a storage that has lost what was not synced."""
    breaks = []
    while isinstance(result := run(request, source, storages), Broken):
        breaks.append(result)
        assert len(breaks) < 50, result
        for storage in storages.values():
            storage.crash()
    return result, breaks


@pytest.mark.parametrize("body", [IMAGE, PACKED], ids=["plain", "compressed"])
@pytest.mark.parametrize("at", [100 * KIB, 300 * KIB + 5, 700 * KIB])
def test_a_broken_connection_costs_at_most_a_block(body: bytes, at: int) -> None:
    storages = world.storages("a", "b")
    source = ScriptedSource(body, break_at=[at])
    result, breaks = until_placed(world.request("a", "b"), source, storages)
    assert [one.advanced for one in breaks] == [True]
    assert source.sent_bytes <= len(body) + BLOCK
    assert result.resumed_bytes > 0
    assert result.resumed_bytes + result.fetched_bytes == len(body)
    assert result.content.sha256 == sha256(IMAGE)
    assert sha256(body) in result.content.source_digests
    assert [storage.contents[sha256(IMAGE).hex][1] for storage in storages.values()] == [IMAGE, IMAGE]
    assert not any(storages.leftovers().values())


@settings(max_examples=40)  # each is several passes with threads; machines under load switch slowly
@given(
    breaks=st.lists(st.integers(0, len(IMAGE) - 1), max_size=6),
    packed=st.booleans(),
    targets=st.sampled_from([("a",), ("a", "b"), ("b", "a", "c")]),
)
def test_however_often_it_breaks_the_bytes_are_right_and_hardly_fetched_twice(
    breaks: list[int], packed: bool, targets: tuple[str, ...]
) -> None:
    body = PACKED if packed else IMAGE
    storages = world.storages("a", "b", "c")
    source = ScriptedSource(body, break_at=list(breaks))
    result, broken = until_placed(world.request(*targets), source, storages)
    assert len(broken) <= len(breaks)
    first_buffer = world.PACE.buffer_bytes  # nothing is kept before it is known whether the source is compressed
    assert source.sent_bytes <= len(body) + len(broken) * (BLOCK + first_buffer)
    assert all(storages[uuid].contents[sha256(IMAGE).hex][1] == IMAGE for uuid in targets)
    assert result.stored == set(targets)
    assert not any(storages.leftovers().values())


@pytest.mark.parametrize("body", [IMAGE, PACKED], ids=["plain", "compressed"])
def test_a_stop_keeps_what_was_fetched(body: bytes) -> None:
    storages = world.storages("a")
    stop = threading.Event()
    source = ScriptedSource(body, on_read=lambda position: stop.set() if position >= 400 * KIB else None)
    result = run(world.request(), source, storages, stop)
    assert isinstance(result, Broken)
    assert result.advanced
    source.on_read = lambda _: None
    assert isinstance(run(world.request(), source, storages), Placed)
    assert source.sent_bytes <= len(body) + BLOCK
    assert source.asked[1].resume_from >= 400 * KIB - BLOCK


@pytest.mark.parametrize("before", [IMAGE, PACKED], ids=["plain", "compressed"])
@pytest.mark.parametrize("after", [OTHER, gzip.compress(OTHER)], ids=["plain", "compressed"])
def test_a_changed_source_starts_from_zero(before: bytes, after: bytes) -> None:
    storages = world.storages("a", "b")
    source = ScriptedSource(before, break_at=[500 * KIB])
    assert isinstance(run(world.request("a", "b"), source, storages), Broken)
    source.data, source.etag = after, '"v2"'
    result = run(world.request("a", "b"), source, storages)
    assert isinstance(result, Placed)
    assert source.asked[1].resume_from > 0
    assert (result.resumed_bytes, result.fetched_bytes) == (0, len(after))
    assert result.content.sha256 == sha256(OTHER)
    assert not any(storages.leftovers().values())


def test_a_source_that_changes_to_and_fro_is_never_mixed() -> None:
    """The record of the old version is void before the first byte of the new one is written."""
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB])
    assert isinstance(run(world.request(), source, storages), Broken)
    source.data, source.etag = OTHER, '"v2"'

    storage = storages["a"]
    moments = []

    def remember(position: int) -> None:
        if position >= 100 * KIB:  # some bytes are written, and no checkpoint was made yet
            moments.append((dict(storage.records), dict(storage.durable)))
            raise errors.Interrupted("killed: what the pass does now is undone below")

    source.on_read = remember
    assert isinstance(run(world.request(), source, storages), Broken)
    (storage.records, storage.durable), *_ = moments
    storage.crash()
    source.data, source.etag, source.on_read = IMAGE, '"v1"', lambda _: None
    result = run(world.request(), source, storages)
    assert isinstance(result, Placed)
    assert result.content.sha256 == sha256(IMAGE)


@pytest.mark.parametrize("etag", [None, 'W/"v1"', '""'])
def test_without_a_strong_validator_nothing_is_kept_and_nothing_advances(etag: str | None) -> None:
    storages = world.storages("a", "b")
    source = ScriptedSource(IMAGE, etag=etag, break_at=[500 * KIB])
    result = run(world.request("a", "b"), source, storages)
    assert isinstance(result, Broken)
    assert not result.advanced
    assert not any(storages.leftovers().values())


def test_a_source_that_changes_during_a_long_replay_is_tried_again_from_zero() -> None:
    """The partial is read back without a connection; by then the version may be gone."""
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[690 * KIB])
    assert isinstance(run(world.request(), source, storages), Broken)
    answers = iter(['"v1"', '"v2"', '"v2"'])
    serve = source.open

    def changing(request: FetchRequest, stop: StopToken) -> world.ScriptedBody:
        source.etag = next(answers)
        source.data = IMAGE if source.etag == '"v1"' else OTHER
        return serve(request, stop)

    source.open = changing  # type: ignore[method-assign]
    second, third = run(world.request(), source, storages), run(world.request(), source, storages)
    assert isinstance(second, Broken)
    assert not second.advanced
    assert "changed" in second.failure.message
    assert isinstance(third, Placed)
    assert (third.resumed_bytes, third.content.sha256) == (0, sha256(OTHER))


def test_a_partial_that_cannot_be_opened_costs_that_storage_only() -> None:
    storages = world.storages("a", "b")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB])
    assert isinstance(run(world.request("a", "b"), source, storages), Broken)
    storages["a"].fail["stage"] = (0, errors.NoSpace("full"))
    result = run(world.request("a", "b"), source, storages)
    assert isinstance(result, Placed)
    assert (result.stored, result.resumed_bytes) == (frozenset({"b"}), 0)


def test_bytes_that_are_not_what_the_partial_s_name_says_start_over() -> None:
    """A record under the name for plain bytes beside compressed ones: somebody moved files."""
    storages = world.storages("a")
    source = ScriptedSource(PACKED, break_at=[500 * KIB])
    assert isinstance(run(world.request(), source, storages), Broken)
    storage = storages["a"]
    for named in (storage.staged, storage.durable, storage.records):
        named["get-1"] = named.pop("get-1.source")  # type: ignore[assignment]
    confused, clean = run(world.request(), source, storages), run(world.request(), source, storages)
    assert isinstance(confused, Broken)
    assert not confused.failure.terminal
    assert isinstance(clean, Placed)
    assert not any(storages.leftovers().values())


def test_a_try_that_gets_no_further_than_the_one_before_has_not_advanced() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB, 500 * KIB])
    first, second = run(world.request(), source, storages), run(world.request(), source, storages)
    assert isinstance(first, Broken)
    assert isinstance(second, Broken)
    assert (first.advanced, second.advanced) == (True, False)


def test_a_refusal_for_good_removes_the_partial() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB])
    run(world.request(), source, storages)
    assert storages["a"].staged
    source.refuse = errors.SourceNotFound("404")
    run(world.request(), source, storages)
    assert not any(storages.leftovers().values())


def test_a_refusal_for_now_keeps_the_partial() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB])
    run(world.request(), source, storages)
    source.refuse = errors.SourceUnreachable("503")
    assert run(world.request(), source, storages) == Broken(berths.failure_of(source.refuse), advanced=False)
    source.refuse = None
    run(world.request(), source, storages)
    assert source.sent_bytes <= len(IMAGE) + BLOCK


def test_wrong_bytes_are_fetched_from_zero_the_next_time() -> None:
    storages = world.storages("a")
    source = ScriptedSource(OTHER, break_at=[500 * KIB])
    request = world.request(checksum=sha256(IMAGE))
    for _ in range(2):
        assert isinstance(run(request, source, storages), Broken)
    assert not any(storages.leftovers().values())
    source.data = IMAGE
    result = run(request, source, storages)
    assert isinstance(result, Placed)
    assert result.resumed_bytes == 0


def test_a_partial_on_another_storage_than_the_first_is_found() -> None:
    storages = world.storages("a", "b")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB])
    storages["a"].fail["stage"] = (0, errors.StorageUnavailable("away"))
    run(world.request("a", "b"), source, storages)
    storages["a"].fail.clear()
    result = run(world.request("a", "b"), source, storages)
    assert isinstance(result, Placed)
    assert result.stored == {"a", "b"}
    assert source.sent_bytes <= len(IMAGE) + BLOCK


def test_a_storage_that_goes_away_keeps_what_it_promised() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE)
    storages["a"].fail["write"] = (500 * KIB, errors.StorageUnavailable("stale file handle"))
    run(world.request(), source, storages)
    storages["a"].fail.clear()
    storages["a"].crash()
    result = run(world.request(), source, storages)
    assert isinstance(result, Placed)
    assert result.resumed_bytes >= world.PACE.checkpoint_bytes
    assert result.content.sha256 == sha256(IMAGE)


def test_a_partial_shorter_than_its_record_is_not_trusted() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[500 * KIB])
    run(world.request(), source, storages)
    del storages["a"].staged["get-1"][1000:]
    result = run(world.request(), source, storages)
    assert isinstance(result, Placed)
    assert (result.resumed_bytes, result.content.sha256) == (0, sha256(IMAGE))


def test_a_full_storage_costs_a_compressed_source_its_resume_but_not_its_image() -> None:
    storages = world.storages("a", "b")
    storages["a"].fail["save_resume_record"] = (0, errors.NoSpace("full"))
    result = run(world.request("a", "b"), ScriptedSource(PACKED), storages)
    assert isinstance(result, Placed)
    assert result.stored == {"a", "b"}
    assert not any(storages.leftovers().values())


# --- compressed sources ------------------------------------------------------------


def test_a_compressed_source_that_is_cut_is_rejected_unless_a_checksum_says_that_the_bytes_are_wrong() -> None:
    cut = PACKED[:-5]
    for checksum, reason in [(None, "FormatRejected"), (sha256(PACKED), "ChecksumMismatch")]:
        storages = world.storages("a")
        result = run(world.request(checksum=checksum), ScriptedSource(cut), storages)
        assert isinstance(result, Broken)
        assert result.failure.reason == reason
        assert not any(storages.leftovers().values())


def test_decompression_that_makes_no_progress_is_an_attack() -> None:
    """By a clock on which every look takes half an hour."""
    storages = world.storages("a")
    clock = FakeClock(tick=1800)
    source = ScriptedSource(PACKED)
    result = one_pass.run(world.request(), source, storages, clock, world.NEVER, lambda _: None, world.PACE)
    assert isinstance(result, Broken)
    assert (result.failure.reason, result.failure.terminal) == ("FormatRejected", True)
    assert "too slow" in result.failure.message
    assert not any(storages.leftovers().values())


def test_a_bomb_stops_at_the_size_limit() -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    storages = world.storages("a")
    result = run(world.request(max_size_bytes=2**20), ScriptedSource(bomb), storages)
    assert isinstance(result, Broken)
    assert result.failure.reason == "TooLarge"
    assert not any(storages.leftovers().values())


def test_who_is_refused_in_the_middle_goes_on_from_there_once_the_secret_is_right() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[300 * KIB])
    assert isinstance(run(world.request("a"), source, storages), Broken)
    source.refuse = errors.AuthenticationFailed("the token was rotated")
    refused = run(world.request("a"), source, storages)
    assert isinstance(refused, Broken)
    assert refused.failure.terminal
    source.refuse = None
    result, _ = until_placed(world.request("a"), source, storages)
    assert result.resumed_bytes > 0
    assert source.sent_bytes <= len(IMAGE) + BLOCK


def test_a_resumed_download_is_noted_only_if_all_of_it_came_of_the_url_as_it_is_asked_now() -> None:
    for witness, noted in ((None, 0), ("of another authority", 0), ("as it was", 1)):
        storages = world.storages("a")
        source = ScriptedSource(IMAGE, break_at=[400 * KIB])
        assert isinstance(run(world.request(), source, storages), Broken)
        record = storages["a"].records["get-1"]
        assert record.witness is not None
        if witness != "as it was":
            storages["a"].records["get-1"] = replace(record, witness=witness)
        result = run(world.request(), source, storages)
        assert isinstance(result, Placed)
        assert result.resumed_bytes > 0
        assert len(storages["a"].provenance(result.content.sha256)) == noted


def test_a_mixed_download_stays_mixed_over_another_break() -> None:
    storages = world.storages("a")
    source = ScriptedSource(IMAGE, break_at=[300 * KIB, 600 * KIB])
    run(world.request(), source, storages)
    storages["a"].records["get-1"] = replace(storages["a"].records["get-1"], witness="of another authority")
    assert isinstance(run(world.request(), source, storages), Broken)
    assert storages["a"].records["get-1"].witness is None
