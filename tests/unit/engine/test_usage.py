"""What bytes are for, each content counted once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from controller import errors
from controller.engine import trash
from controller.engine.usage import Usage, measure
from controller.model.image import Content, Ref, RefStatus, Revision
from controller.model.resource import Image
from controller.model.transfer import TrashRecord
from tests.fakes.stored_bytes import IMAGE, OTHER_IMAGE, put, ref_of
from tests.fakes.world import EPOCH
from tests.unit.engine.engine_bench import Bench

THIRD = "00112233445566778899aabbccddeeff"


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.engine.probe_storages()
    yield bench
    bench.engine.stop()


def image(bench: Bench, uuid: str, current: Content, *older: Content) -> Image:
    """Return an image that says it serves `current` on s1."""
    (storage,) = bench.engine.storages.all()
    revisions = [
        Revision(content, "id", "http://images.example/a", EPOCH, "first use") for content in (current, *older)
    ]
    ref = Ref(storage.uuid, "s1", "zstore://", RefStatus.READY, EPOCH, EPOCH)
    status = replace(bench.image().status, uuid=uuid, current=revisions[0], history=tuple(revisions[1:]), refs=(ref,))
    return replace(bench.image(), status=status)


def test_each_content_counts_once_for_the_first_that_wants_it(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    served, older, shared, thrown = (put(storage.adapter, bytes([seed]) * 100 * (seed + 1), IMAGE) for seed in range(4))
    for content in (served, older, thrown):
        storage.adapter.link(THIRD, ref_of(content))
    storage.adapter.discard(TrashRecord(THIRD, "default", "gone", EPOCH, EPOCH + timedelta(hours=1)))
    images = [image(bench, IMAGE, served, older, shared), image(bench, OTHER_IMAGE, shared)]
    assert measure(storage, images) == Usage(
        current_bytes=served.size_bytes + shared.size_bytes,
        history_bytes=older.size_bytes,
        trash_bytes=thrown.size_bytes,
    )
    (entry,) = trash.discarded(storage)
    assert entry.size_bytes == served.size_bytes + older.size_bytes + thrown.size_bytes
    assert measure(storage, [*images, image(bench, THIRD, served)]).trash_bytes == 0, "it lives again"


def test_what_an_image_has_elsewhere_does_not_count(bench: Bench) -> None:
    (storage,) = bench.engine.storages.all()
    served = put(storage.adapter, b"bytes", IMAGE)
    elsewhere = image(bench, IMAGE, served, served)
    (ref,) = elsewhere.status.refs
    moved = replace(elsewhere, status=replace(elsewhere.status, refs=(replace(ref, storage_uuid="f" * 32),)))
    assert measure(storage, [moved]) == Usage(0, 0, 0)
    assert measure(storage, [bench.image()]) == Usage(0, 0, 0), "one that nobody looked at yet"


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
