"""What bytes are for, each content counted once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from controller import errors
from controller.engine import trash
from controller.engine.usage import Bytes, Measured, Usage, measure
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.image import Content, Ref, RefStatus, Revision
from controller.model.quarantine import Quarantine
from controller.model.resource import Image, Key, Kind
from controller.model.transfer import Failure, TrashRecord
from controller.plan.room import Holder, Use
from controller.reasons import Reason
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, put, ref_of
from tests.fakes.world import EPOCH
from tests.unit.engine.engine_bench import IMAGE as KEY
from tests.unit.engine.engine_bench import Bench

THIRD = "00112233445566778899aabbccddeeff"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.engine.probe_storages()
    yield bench
    bench.engine.stop()


def image(bench: Bench, uuid: str, current: Content, *older: Content, owner: str = "default/img") -> Image:
    """Return an image that says it serves `current` on s1."""
    (storage,) = bench.engine.storages.all()
    revisions = [
        Revision(content, "id", "http://images.example/a", EPOCH, "first use") for content in (current, *older)
    ]
    ref = Ref(storage.uuid, "s1", "zstore://", RefStatus.READY, EPOCH, EPOCH)
    status = replace(bench.image().status, uuid=uuid, current=revisions[0], history=tuple(revisions[1:]), refs=(ref,))
    namespace, _, name = owner.partition("/")
    meta = replace(bench.image().meta, key=Key(Kind.IMAGE, namespace, name))
    return replace(bench.image(), meta=meta, status=status)


def test_each_content_counts_once_for_the_first_that_wants_it(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    served, older, shared, thrown = (put(storage.adapter, bytes([seed]) * 100 * (seed + 1), IMAGE) for seed in range(4))
    for content in (served, older, thrown):
        storage.adapter.link(THIRD, ref_of(content))
    storage.adapter.discard(TrashRecord(THIRD, "other", "gone", EPOCH, EPOCH + timedelta(hours=1)))
    images = [
        image(bench, IMAGE, served, older, shared, owner="default/a"),
        image(bench, OTHER_IMAGE, shared, owner="other/b"),
    ]
    found = measure(storage, images)
    sizes = [content.size_bytes for content in (served, older, shared, thrown)]
    assert sizes == [100, 200, 300, 400]
    assert found.total == Bytes(current=100 + 300, history=200, trash=400)
    assert found.namespaces == {
        "default": Bytes(current=100, history=200 + 300),
        "other": Bytes(current=300, trash=100 + 200 + 400),
    }
    assert found.holders == (Holder(Use.TRASH, "other", "gone", 400),), "nothing else would be free if one let go"
    (entry,) = trash.discarded(storage)
    assert entry.size_bytes == served.size_bytes + older.size_bytes + thrown.size_bytes
    assert measure(storage, [*images, image(bench, THIRD, served, owner="other/gone")]).total.trash == 0, (
        "it lives again"
    )


def test_the_largest_holder_comes_first(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    served, small, large = (put(storage.adapter, bytes([seed]) * 100 * (seed + 1), IMAGE) for seed in range(3))
    for content, uuid in ((large, OTHER_IMAGE), (small, THIRD)):
        storage.adapter.link(uuid, ref_of(content))
    storage.adapter.unlink(IMAGE, large.sha256)
    storage.adapter.unlink(IMAGE, small.sha256)
    storage.adapter.discard(TrashRecord(THIRD, "default", "gone", EPOCH, None))
    images = [image(bench, IMAGE, served), image(bench, OTHER_IMAGE, served, large, owner="default/b")]
    holders = measure(storage, images).holders
    assert holders == (Holder(Use.HISTORY, "default", "b", 300), Holder(Use.TRASH, "default", "gone", 200))


def test_what_an_image_has_elsewhere_does_not_count(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    served = put(storage.adapter, b"bytes", IMAGE)
    elsewhere = image(bench, IMAGE, served, served)
    (ref,) = elsewhere.status.refs
    moved = replace(elsewhere, status=replace(elsewhere.status, refs=(replace(ref, storage_uuid="f" * 32),)))
    assert measure(storage, [moved]) == Usage(Bytes())
    assert measure(storage, [bench.image()]) == Usage(Bytes()), "one that nobody looked at yet"


def test_a_full_storage_says_whose_bytes_could_go_and_is_measured_once_a_minute(bench: Bench) -> None:
    """Of another namespace only the sum: who reads this status may not know its images."""
    store = bench.store()
    for number, (owner, size) in enumerate([("default/old", 2**20), ("evil/secret", 2**21)]):
        uuid, content = f"{number:032x}", put(store, bytes([number]) * size, OTHER_IMAGE)
        store.link(uuid, ref_of(content))
        store.unlink(OTHER_IMAGE, content.sha256)
        namespace, _, name = owner.partition("/")
        store.discard(TrashRecord(uuid, namespace, name, EPOCH, None))
    looks = 0
    plain = store.trash

    def counted() -> tuple[TrashRecord, ...]:
        nonlocal looks
        looks += 1
        return plain()

    bench.engine.enqueue([KEY])
    bench.work()
    store.trash = counted  # type: ignore[method-assign]
    for _ in range(3):
        bench.transfers.finish(Failure(Reason.NO_SPACE, "/s1: 7 bytes do not fit", terminal=False))
        bench.work()
        bench.clock.advance(15)
        bench.work()
    ready = conditions.find(bench.image().status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.message == (
        "/s1: 7 bytes do not fit; could be freed on s1: 1Mi by goldmaster trash expunge old -n default, "
        "2Mi in other namespaces"
    )
    assert looks <= 6, "one of them measured; the others looked for a predecessor"


def test_a_storage_that_cannot_be_asked_is_not_empty(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    bench.store().faults.unreachable = True
    with pytest.raises(errors.StorageUnavailable):
        measure(storage, [])


def test_the_status_counts_images_at_each_probe(bench: Bench) -> None:
    bench.converge()
    bench.engine.probe_storages()
    (storage,) = bench.engine.storages.all()
    assert storage.resource.status.images == 1
    storage.adapter.discard(TrashRecord(str(bench.image().status.uuid), "default", "debian", EPOCH, None))
    bench.engine.probe_storages()
    (storage,) = bench.engine.storages.all()
    assert storage.resource.status.images == 0
    bench.store().faults.unreachable = True
    bench.engine.probe_storages()
    (storage,) = bench.engine.storages.all()
    assert storage.resource.status.images == 0, "as last seen"


def test_damaged_bytes_in_quarantine_are_counted_apart_and_told_of_where_a_storage_is_full(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    content = put(storage.adapter, b"x" * 100, IMAGE)
    storage.adapter.quarantine(content.sha256, "a bit flipped")
    found = measure(storage, [])
    assert (found.total, found.quarantine) == (Bytes(), Quarantine(1, 100))
    (held,) = Measured(bench.clock, list).held([storage])
    assert held.quarantine_bytes == 100
