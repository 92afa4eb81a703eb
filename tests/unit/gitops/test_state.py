"""The state directory: what survives, what a request does, what the manifests change."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller import errors
from controller.gitops.desired import Guards
from controller.gitops.state import State
from controller.model.image import ImageStatus
from controller.model.resource import REQUESTED_AT, Image, Kind
from controller.model.stored import Verb
from controller.plan import source
from tests.fakes.clock import FakeClock
from tests.unit.gitops.manifests import image_key, tree, wanted

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
KEY = image_key()
GUARDS = Guards()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(EPOCH)


@pytest.fixture
def state(tmp_path: Path, clock: FakeClock) -> Iterator[State]:
    with State.open(tmp_path, clock) as opened:
        yield opened


def image(state: State, name: str = "debian") -> Image:
    found = state.image(image_key(name))
    assert found is not None
    return found


def test_everything_is_there_after_a_restart(tmp_path: Path, clock: FakeClock) -> None:
    with State.open(tmp_path, clock) as first:
        first.apply([tree(wanted(labels={"a": "b"}, annotations={REQUESTED_AT: "1"}))], GUARDS)
        first.write_image_status(image(first), replace(image(first).status, attempts=2))
        first.ask(KEY, Verb.SUSPEND)
        before, instance = image(first), first.instance_id
    with State.open(tmp_path, clock) as second:
        assert image(second) == before
        assert second.instance_id == instance
        assert [request.verb for request in second.take_requests()] == [Verb.SUSPEND]


def test_two_states_are_two_instances(tmp_path: Path, clock: FakeClock) -> None:
    with State.open(tmp_path / "a", clock) as one, State.open(tmp_path / "b", clock) as other:
        assert one.instance_id != other.instance_id


def test_a_new_image_has_its_uuid_at_once(state: State) -> None:
    given = "b395386bdb4a4ff1b1850a457c949c5e"
    state.apply([tree(wanted("a"), wanted("b", uuid=given))], GUARDS)
    assert image(state, "a").status.uuid == source.derive_uuid(state.instance_id, image_key("a"))
    assert image(state, "b").status.uuid == given
    assert uuid.UUID(image(state, "a").meta.uid).version == 4


def test_an_object_is_created_when_the_clock_says(state: State) -> None:
    state.apply([tree(wanted())], GUARDS)
    assert image(state).meta.created == EPOCH


def test_what_changed_is_told_and_a_second_look_changes_nothing(state: State) -> None:
    applied = state.apply([tree(wanted("a"), wanted("b"))], GUARDS)
    assert applied.created == applied.keys == (image_key("a"), image_key("b"))
    assert state.apply([tree(wanted("a"), wanted("b"))], GUARDS).keys == ()
    applied = state.apply([tree(wanted("a", url="http://images.example/new"))], GUARDS)
    assert (applied.created, applied.updated, applied.deleted) == ((), (image_key("a"),), (image_key("b"),))
    assert image(state, "b").meta.deleting


def test_a_manifest_that_only_moved_is_no_change_of_the_object(state: State) -> None:
    state.apply([tree(wanted())], GUARDS)
    before = image(state)
    assert state.apply([tree(wanted(file="/tree/elsewhere.yaml", line=5))], GUARDS).keys == ()
    assert image(state) == before
    (stored,) = state.stored(Kind.IMAGE)
    assert stored.source == "/tree/elsewhere.yaml:5"


@pytest.mark.parametrize("removed", [True, False])
def test_the_uuid_is_never_added_or_removed_later(state: State, removed: bool) -> None:
    having, lacking = wanted(uuid="b395386bdb4a4ff1b1850a457c949c5e"), wanted()
    state.apply([tree(having if removed else lacking)], GUARDS)
    before = image(state)
    applied = state.apply([tree(lacking if removed else having)], GUARDS)
    assert [problem.path for problem in applied.problems] == ["spec.uuid"]
    assert image(state) == before


def test_a_refused_transaction_leaves_nothing_behind(state: State) -> None:
    state.apply([tree(wanted("a"))], GUARDS)
    broken = replace(wanted("c"), spec_json=None)  # type: ignore[arg-type]
    with pytest.raises(errors.StateBroken):
        state.apply([tree(wanted("b"), broken)], GUARDS)
    assert state.keys(Kind.IMAGE) == [image_key("a")]


def test_requests_are_taken_once_in_order(state: State, clock: FakeClock) -> None:
    state.apply([tree(wanted())], GUARDS)
    state.ask(KEY, Verb.SUSPEND)
    clock.advance(timedelta(seconds=1))
    state.ask(KEY, Verb.RECONCILE)
    taken = state.take_requests()
    assert [(request.verb, request.at) for request in taken] == [
        (Verb.SUSPEND, EPOCH),
        (Verb.RECONCILE, EPOCH + timedelta(seconds=1)),
    ]
    assert taken[1].token == image(state).meta.requested_at
    assert state.take_requests() == []


def test_a_request_for_what_is_not_there_is_refused(state: State) -> None:
    with pytest.raises(errors.NotFound, match="Image/default/debian"):
        state.ask(KEY, Verb.RECONCILE)
    assert state.take_requests() == []


@pytest.mark.parametrize(
    ("manifest", "verb", "override"),
    [
        (False, Verb.SUSPEND, True),
        (False, Verb.RESUME, None),
        (True, Verb.SUSPEND, None),
        (True, Verb.RESUME, False),
    ],
)
def test_an_override_stands_where_it_differs_from_the_manifest(
    state: State, manifest: bool, verb: Verb, override: bool | None
) -> None:
    state.apply([tree(wanted(suspend=manifest))], GUARDS)
    state.ask(KEY, verb)
    assert image(state).meta.suspend_override is override


def test_the_newest_word_on_suspend_wins(state: State) -> None:
    state.apply([tree(wanted())], GUARDS)
    state.ask(KEY, Verb.SUSPEND)
    state.apply([tree(wanted(description="edited"))], GUARDS)
    assert image(state).meta.suspend_override is True
    state.apply([tree(wanted(suspend=True))], GUARDS)
    assert image(state).meta.suspend_override is None
    state.apply([tree(wanted())], GUARDS)
    assert image(state).meta.suspend_override is None


def test_the_newest_request_to_look_again_wins(state: State) -> None:
    state.apply([tree(wanted(annotations={REQUESTED_AT: "first"}))], GUARDS)
    asked = state.ask(KEY, Verb.RECONCILE)
    state.apply([tree(wanted(annotations={REQUESTED_AT: "first"}, description="edited"))], GUARDS)
    assert image(state).meta.requested_at == asked.token
    state.apply([tree(wanted(annotations={REQUESTED_AT: "second"}))], GUARDS)
    assert image(state).meta.requested_at == "second"
    state.apply([tree(wanted())], GUARDS)
    assert image(state).meta.requested_at == "second"


def test_a_document_is_what_kubectl_would_print(state: State) -> None:
    state.apply([tree(wanted(labels={"team": "a"}))], GUARDS)
    (stored,) = state.stored(Kind.IMAGE, "default", "debian")
    assert stored.document["kind"] == "Image"
    assert stored.document["metadata"] == {
        "name": "debian",
        "namespace": "default",
        "uid": image(state).meta.uid,
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"team": "a"},
    }
    assert stored.document["spec"]["platform"] == "Linux"
    assert stored.document["status"] == {"uuid": image(state).status.uuid}
    assert (stored.root, stored.source) == ("/tree", "/tree/debian.yaml:1")


def test_listing_is_by_namespace_and_name(state: State) -> None:
    state.apply([tree(wanted("b"), wanted("a"))], GUARDS)
    assert [stored.key.name for stored in state.stored(Kind.IMAGE)] == ["a", "b"]
    assert [found.meta.key.name for found in state.images("default", "b")] == ["b"]
    assert state.stored(Kind.IMAGE, "elsewhere") == []
    assert state.storages() == []


def test_readers_go_on_beside_the_writer(tmp_path: Path, clock: FakeClock) -> None:
    with State.open(tmp_path, clock) as writer, State.open_reading(tmp_path, clock) as reader:
        assert reader.keys(Kind.IMAGE) == []
        writer.apply([tree(wanted())], GUARDS)
        assert reader.keys(Kind.IMAGE) == [KEY]
        with pytest.raises(errors.StateBroken, match="readonly"):
            reader.ask(KEY, Verb.SUSPEND)
        with State.open(tmp_path, clock) as beside:
            beside.ask(KEY, Verb.SUSPEND)
        assert [request.key for request in writer.take_requests()] == [KEY]


def test_a_rehearsal_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    with State.open(tmp_path, clock) as state:
        state.apply([tree(wanted("a"))], GUARDS)
        with State.rehearse(tmp_path, clock) as rehearsal:
            rehearsal.write_image_status(image(rehearsal, "a"), ImageStatus(attempts=7))
            rehearsal.apply([tree(wanted("a"), wanted("b"))], GUARDS)
            assert len(rehearsal.keys(Kind.IMAGE)) == 2
        assert state.keys(Kind.IMAGE) == [image_key("a")]
        assert image(state, "a").status.attempts == 0


def test_a_rehearsal_needs_no_state_and_makes_none(tmp_path: Path, clock: FakeClock) -> None:
    with State.rehearse(tmp_path / "none", clock) as rehearsal:
        assert rehearsal.apply([tree(wanted())], GUARDS).created == (KEY,)
    assert not (tmp_path / "none").exists()


def test_what_disappears_bit_by_bit_counts_together_for_ten_minutes(tmp_path: Path, clock: FakeClock) -> None:
    left = [wanted(f"image-{number}") for number in range(12)]
    with State.open(tmp_path, clock) as state:
        state.apply([tree(*left)], GUARDS)
        clock.advance(1)
        assert len(state.apply([tree(*left[5:])], GUARDS).deleted) == 5
    with State.open(tmp_path, clock) as state:  # a restart forgets nothing
        clock.advance(1)
        (held,) = state.apply([tree(*left[6:])], GUARDS).held_back
        assert "1 of 7 objects would go at once with 5 that went just before, at most 5 may" in held.why
        clock.advance(timedelta(minutes=10))
        assert state.apply([tree(*left[6:])], GUARDS).deleted == (image_key("image-5"),)


def test_what_a_person_confirmed_uses_nothing_up(state: State) -> None:
    left = [wanted(f"image-{number}") for number in range(12)]
    state.apply([tree(*left)], GUARDS)
    assert len(state.apply([tree(*left[6:])], Guards(confirmed=True)).deleted) == 6
    assert len(state.apply([tree(*left[11:])], GUARDS).deleted) == 5


def test_deletions_of_one_root_hold_nothing_back_in_another(state: State) -> None:
    one, other = ([wanted(f"{root}-{number}") for number in range(12)] for root in "ab")
    state.apply([tree(*one, root="/a"), tree(*other, root="/b")], GUARDS)
    state.apply([tree(*one[5:], root="/a"), tree(*other, root="/b")], GUARDS)
    after = state.apply([tree(*one[5:], root="/a"), tree(*other[5:], root="/b")], GUARDS)
    assert len(after.deleted) == 5
