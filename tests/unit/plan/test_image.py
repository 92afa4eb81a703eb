"""What an image's plan says in the situations that a life brings."""

from dataclasses import replace
from datetime import timedelta

from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.digest import Digest
from controller.model.image import Format, MediaType, Phase, RefStatus, RetryPolicy, State
from controller.model.transfer import Failure, Queued, Running
from controller.plan.effects import Link, ReleaseTransfer, StartTransfer, Unlink
from controller.reasons import Reason
from tests.fakes.world import Store, World, available, content, ready, reason, spec, stalled

A, B = "http://images.example/a", "http://images.example/b"


def test_an_image_is_fetched_claimed_and_ready(world: World) -> None:
    first = world.step()
    assert [type(effect) for effect in first.effects] == [StartTransfer]
    assert first.status == world.image.status, "a transfer that ends at once costs no status write"
    world.finish()
    claim = world.step()
    assert [type(effect) for effect in claim.effects] == [Link]
    assert claim.again
    done = world.step()
    assert ready(world)
    assert available(world)
    assert world.image.status.phase is Phase.READY
    assert world.image.status.refs[0].status is RefStatus.READY
    assert [type(effect) for effect in done.after] == [ReleaseTransfer]
    assert world.step().effects == ()


def test_a_running_transfer_shows_its_progress(world: World) -> None:
    world.step()
    world.states = dict.fromkeys(world.states, Running(5, 10))
    plan = world.step()
    assert world.image.status.phase is Phase.DOWNLOADING
    assert world.image.status.progress is not None
    assert world.image.status.progress.bytes == 5
    assert plan.requeue == timedelta(seconds=5)


def test_a_queued_transfer_shows_its_place_and_looks_again_later_the_further_back_it_is(world: World) -> None:
    world.step()
    world.states = dict.fromkeys(world.states, Queued(1000))
    plan = world.step()
    assert world.image.status.queue_position == 1000
    assert reason(world) is Reason.QUEUED
    assert plan.requeue == timedelta(seconds=200)


def test_a_transient_failure_is_tried_again_with_growing_pauses(world: World) -> None:
    pauses = []
    for attempt in range(1, 4):
        world.settle()
        world.finish(Failure(Reason.SOURCE_UNREACHABLE, "reset", terminal=False))
        plan = world.settle()
        assert world.image.status.attempts == attempt
        assert plan.requeue is not None
        pauses.append(plan.requeue)
        assert world.step().effects == (), "not before it is due"
        world.now += plan.requeue
    assert pauses[0] < pauses[1] < pauses[2]


def test_progress_resets_the_count(world: World) -> None:
    for _ in range(3):
        world.settle()
        world.finish(Failure(Reason.SOURCE_UNREACHABLE, "reset", terminal=False), advanced=True)
        world.now += world.settle().requeue or timedelta()
        assert world.image.status.attempts == 1


def test_the_limit_ends_in_stalled_until_asked_again(world: World) -> None:
    world.edit(spec(A, retry=RetryPolicy(limit=1)))
    for _ in range(2):
        world.settle()
        world.finish(Failure(Reason.SOURCE_UNREACHABLE, "reset", terminal=False))
        world.now += world.settle().requeue or timedelta()
    assert stalled(world)
    assert reason(world) is Reason.SOURCE_UNREACHABLE
    assert world.step().effects == ()
    world.image = replace(world.image, meta=replace(world.image.meta, requested_at="now"))
    assert [type(effect) for effect in world.step().effects] == [StartTransfer]


def test_retry_after_is_honoured(world: World) -> None:
    world.settle()
    world.finish(Failure(Reason.SOURCE_UNREACHABLE, "503", terminal=False, retry_after=timedelta(hours=1)))
    assert world.settle().requeue == timedelta(hours=1)


def test_a_terminal_failure_stops_at_once(world: World) -> None:
    world.settle()
    world.finish(Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    world.settle()
    assert stalled(world)
    assert world.image.status.phase is Phase.FAILED
    assert not world.states
    world.now += timedelta(days=1)
    assert world.step().effects == ()


def test_a_checksum_mismatch_is_tried_once_more_then_terminal(world: World) -> None:
    world.edit(spec(A, checksum=Digest.parse("sha256:" + "f" * 64)))
    world.settle()
    world.finish()
    plan = world.settle()
    assert not stalled(world)
    assert reason(world) is Reason.CHECKSUM_MISMATCH
    world.now += plan.requeue or timedelta()
    world.settle()
    world.finish()
    world.settle()
    assert stalled(world)
    assert len(world.started) == 2


def test_a_changed_spec_starts_afresh_and_drops_the_old_transfer(world: World) -> None:
    world.settle()
    old = next(iter(world.states))
    world.edit(spec(B))
    plan = world.step()
    assert ReleaseTransfer(old) in plan.effects
    world.run()
    assert world.image.status.current is not None
    assert world.image.status.current.content == content(2)


def test_the_old_revision_serves_until_the_new_one_is_there(world: World) -> None:
    world.run()
    world.edit(spec(B))
    world.settle()
    world.states = dict.fromkeys(world.states, Running(1, 2))
    world.settle()
    assert available(world)
    assert not ready(world)
    assert world.image.status.phase is Phase.READY
    world.finish(Failure(Reason.SOURCE_NOT_FOUND, "404", terminal=True))
    world.settle()
    assert available(world)
    assert not ready(world)
    assert stalled(world)
    assert content(1).sha256 in world.stores[0].objects


def test_the_new_revision_replaces_the_old_bytes_only_after_the_status_is_written(world: World) -> None:
    world.run()
    world.edit(spec(B))
    world.settle()
    world.finish()
    world.step()
    plan = world.step()
    assert ready(world)
    assert Unlink(world.stores[0].uuid, content(1).sha256) in plan.after
    assert set(world.stores[0].objects) == {content(2).sha256}


def test_a_lost_copy_is_fetched_again_and_pinned(world: World) -> None:
    world.run()
    world.stores[0].objects.clear()
    world.settle()
    assert world.started[-1].expected_content == content(1)
    world.sources[A] = content(9)
    world.finish()
    world.settle()
    assert stalled(world)
    assert reason(world) is Reason.SOURCE_CHANGED
    assert not available(world)


def test_a_second_storage_is_filled_from_the_first(world: World) -> None:
    world.run()
    world.stores.append(Store("s2"))
    world.edit(spec(A, backup_storages=("s1", "s2")))
    world.settle()
    assert world.started[-1].copy_from is not None
    assert world.started[-1].copy_from.name == "s1"
    world.run()
    assert ready(world)
    assert {ref.storage_name for ref in world.image.status.refs} == {"s1", "s2"}


def test_a_storage_no_longer_named_is_left_once_the_others_have_it(world: World) -> None:
    world.stores.append(Store("s2"))
    world.run()
    first = world.image.status.refs[0].storage_name
    other = "s2" if first == "s1" else "s1"
    world.edit(spec(A, backup_storages=(other,)))
    world.run()
    assert ready(world)
    assert not world.store(first).objects
    assert world.store(other).objects


def test_an_unreachable_storage_is_unknown_not_empty(world: World) -> None:
    world.run()
    world.stores[0].up = False
    plan = world.settle()
    assert plan.effects == ()
    assert plan.after == ()
    assert world.image.status.refs[0].status is RefStatus.UNKNOWN
    assert not ready(world)
    assert not available(world)
    assert reason(world) is Reason.STORAGE_UNAVAILABLE
    world.stores[0].up = True
    world.settle()
    assert ready(world)
    assert len(world.started) == 1


def test_one_storage_away_leaves_the_image_available_not_ready() -> None:
    world = World.of(spec(A, backup_storages=("s1", "s2")), "s1", "s2")
    world.sources = {A: content(1)}
    world.run()
    world.store("s2").up = False
    world.settle()
    assert available(world)
    assert not ready(world)


def test_a_storage_that_is_away_from_the_start_is_filled_when_it_comes() -> None:
    world = World.of(spec(A, backup_storages=("s1", "s2")), "s1", "s2")
    world.sources = {A: content(1)}
    world.store("s2").up = False
    world.run()
    assert available(world)
    assert not ready(world)
    world.store("s2").up = True
    world.run()
    assert ready(world)
    assert len([request for request in world.started if request.copy_from is None]) == 1


def test_a_storage_that_nobody_probed_yet_changes_nothing(world: World) -> None:
    world.run()
    world.stores[0].probed = False
    plan = world.step()
    assert plan.status == world.image.status
    assert ready(world)


def test_suspend_stops_what_runs_and_is_not_an_error(world: World) -> None:
    world.settle()
    world.edit(spec(A, suspend=True))
    world.settle()
    assert not world.states
    assert reason(world) is Reason.SUSPENDED
    assert not stalled(world)
    world.edit(spec(A))
    world.run()
    world.edit(spec(A, suspend=True))
    world.settle()
    assert ready(world), "what is there stays Ready"


def test_a_suspend_request_wins_over_the_manifest(world: World) -> None:
    world.image = replace(world.image, meta=replace(world.image.meta, suspend_override=True))
    assert world.step().effects == ()
    assert reason(world) is Reason.SUSPENDED


def test_a_missing_storage_is_waited_for_by_name(world: World) -> None:
    world.edit(spec(A, backup_storages=("nowhere",)))
    world.settle()
    assert reason(world) is Reason.DEPENDENCY_NOT_READY
    found = conditions.find(world.image.status.conditions, ConditionType.READY)
    assert found is not None
    assert "nowhere" in found.message
    assert world.image.status.attempts == 0


def test_a_disabled_storage_gets_no_bits_and_keeps_its_own(world: World) -> None:
    world.stores[0].state = State.DISABLED
    world.edit(spec(A, backup_storages=("s1",)))
    world.settle()
    assert not world.started
    world.stores[0].state = State.ENABLED
    world.run()
    world.stores[0].state = State.DISABLED
    world.settle()
    assert ready(world)
    world.image = replace(world.image, meta=replace(world.image.meta, deleting=True))
    plan = world.settle()
    assert not world.gone
    assert "Disabled" in plan.summary


def test_a_storage_in_deletion_takes_nothing_new_and_serves_what_it_has(world: World) -> None:
    world.run()
    world.stores[0].deleting = True
    world.settle()
    assert ready(world)
    other = World.of(spec(A, backup_storages=("s1",)))
    other.stores[0].deleting = True
    assert "being deleted" in other.settle().summary
    assert not other.started


def test_two_defaults_are_refused_by_name(world: World) -> None:
    world.stores = [Store("s1", default=True), Store("s2", default=True)]
    plan = world.settle()
    assert "s1, s2" in plan.summary


def test_the_default_storage_wins_over_room_and_a_choice_stays() -> None:
    world = World.of(spec(A), "s1", "s2")
    world.sources = {A: content(1)}
    world.store("s1").room = 1
    world.store("s1").default = True
    world.run()
    assert world.image.status.refs[0].storage_name == "s1"
    world.store("s1").default = False
    world.store("s2").default = True
    world.run()
    assert world.image.status.refs[0].storage_name == "s1"


def test_waiting_for_a_turn_at_the_source_counts_as_no_try_and_comes_no_sooner_than_told(world: World) -> None:
    world.edit(spec(A, retry=RetryPolicy(limit=1)))
    for _ in range(5):
        world.settle()
        world.finish(Failure(Reason.QUEUED, "asks for nothing", terminal=False, retry_after=timedelta(minutes=3)))
        plan = world.settle()
        assert (reason(world), world.image.status.attempts, stalled(world)) == (Reason.QUEUED, 0, False)
        assert plan.requeue is not None
        assert timedelta(minutes=3) <= plan.requeue <= timedelta(minutes=3) * 1.2, "spread: many wait for that moment"
        world.now += plan.requeue
    world.run()
    assert ready(world)


def test_an_adopted_claim_needs_no_download(world: World) -> None:
    """A crash between placing and writing the status, or a wiped operator."""
    world.run()
    world.image = replace(world.image, status=replace(World.of(spec(A)).image.status))
    world.started.clear()
    world.run()
    assert ready(world)
    assert not world.started


def test_a_changed_url_with_the_same_strong_checksum_costs_no_byte(world: World) -> None:
    checksum = content(1).sha256
    world.edit(spec(A, checksum=checksum))
    world.run()
    world.started.clear()
    world.edit(spec(B, checksum=checksum))
    world.run()
    assert ready(world)
    assert not world.started


def test_a_checksum_added_to_proven_bytes_costs_no_byte_and_shows(world: World) -> None:
    world.run()
    world.started.clear()
    world.edit(spec(A, checksum=content(1).sha256))
    world.run()
    assert not world.started
    assert world.image.status.current is not None
    assert world.image.status.current.proof == "checksum sha256"


def test_a_format_that_the_bytes_are_not_stalls_without_a_download(world: World) -> None:
    world.run()
    world.started.clear()
    world.edit(spec(A, format=Format.RAW))
    world.settle()
    assert stalled(world)
    assert reason(world) is Reason.FORMAT_REJECTED
    assert available(world)
    world.edit(spec(A, media_type=MediaType.ISO))
    world.settle()
    assert reason(world) is Reason.FORMAT_REJECTED
    world.edit(spec(A, max_size_bytes=10))
    world.settle()
    assert reason(world) is Reason.TOO_LARGE
    assert not world.started
    world.edit(spec(A))
    world.settle()
    assert ready(world)
