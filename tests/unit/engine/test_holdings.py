"""What is told of others' bytes: only what a claim, a record or an ended transfer proves at that moment."""

from dataclasses import replace

import pytest

from controller import errors
from controller.engine.figures import Figures
from controller.engine.holdings import FRESH, Holdings
from controller.engine.storages import Storages
from controller.model.digest import Digest
from controller.model.image import Content, ImageStatus, Revision
from controller.model.resource import Image, Key, Kind
from controller.model.transfer import Placed, Validator
from controller.model.url import SourceUrl
from controller.plan import source
from controller.plan.observed import Shared
from tests.fakes.backup_storage import FakeBackupStorage, FakeStorageFactory
from tests.fakes.clock import FakeClock
from tests.fakes.resources import FakeResources
from tests.fakes.stored_bytes import answer, content_of, publish, ref_of
from tests.unit.engine.transfer import world

URL = "https://images.example/golden.raw"
SHA256 = Digest.parse("sha256:" + "ab" * 32)
SHA512 = Digest.parse("sha512:" + "cd" * 64)


class Rig:
    """Two storages, and images that say what they have."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.resources = FakeResources(self.clock)
        self.factory = FakeStorageFactory(self.clock)
        self.storages = Storages(self.resources, self.factory, self.clock, lambda _: None)
        for name in ("s1", "s2"):
            key = Key(Kind.BACKUP_STORAGE, "", name)
            spec = {"type": "ImageStore", "imageStore": {"path": f"/{name}"}, "reservedCapacity": "0"}
            self.resources.put(key, spec)
            self.storages.reconcile(key)
        self.figures = Figures()
        self.holdings = Holdings(self.resources, self.storages, self.figures)

    def adapter(self, name: str = "s1") -> FakeBackupStorage:
        found = next(storage.adapter for storage in self.storages.all() if storage.name == name)
        assert isinstance(found, FakeBackupStorage)
        return found

    def image(self, where: str, content: Content | None = None, *, url: str = URL) -> Image:
        """Make an image whose status says that it has a content."""
        namespace, _, name = where.partition("/")
        key = Key(Kind.IMAGE, namespace, name)
        self.resources.put(key, {"url": url})
        image = self.resources.image(key)
        assert image is not None
        if content is None:
            return image
        revision = Revision(content, "source-1", url, self.clock.now(), "first use")
        return self.resources.write_image_status(image, ImageStatus(uuid=source.image_uuid(image), current=revision))

    def having(self, where: str, data: bytes = b"image", *, storage: str = "s1", owner: str | None = None) -> Content:
        """Make an image that has claimed some bytes."""
        content = content_of(data)
        image = self.image(where, content)
        publish(self.adapter(storage), data, name=f"t-{image.meta.key.name}", provenance=answer())
        ref = replace(ref_of(content), owner=where if owner is None else owner)
        self.adapter(storage).link(source.image_uuid(image), ref)
        return content

    def told(self, namespace: str = "a", digest: Digest = SHA256) -> Shared | None:
        return self.holdings.of_namespace(namespace, digest)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.mark.parametrize("digest", [SHA256, SHA512])
def test_what_an_image_of_the_namespace_claims_is_told_by_either_digest(rig: Rig, digest: Digest) -> None:
    content = rig.having("a/base", storage="s2")
    assert rig.told(digest=digest) == Shared(content, "Image a/base")
    assert rig.told("b", digest) is None
    assert rig.holdings.of_anybody(digest) == content


def test_a_status_without_a_claim_is_nothing(rig: Rig) -> None:
    """Whoever can write a status cannot thereby have what others stored."""
    rig.having("victim/base")
    rig.image("a/forged", content_of(b"image"))
    assert rig.told() is None


@pytest.mark.parametrize("owner", ["victim/base", ""])
def test_a_claim_that_is_anothers_or_nobodys_is_nothing(rig: Rig, owner: str) -> None:
    rig.having("a/base", owner=owner)
    assert rig.told() is None


def test_a_claim_says_whose_the_bytes_are_and_not_what_they_are(rig: Rig) -> None:
    """It was copied from a status; only a download that the record speaks of names them."""
    content = rig.having("a/base")
    victims = Digest.parse("sha256:" + "ef" * 32)
    forged = replace(content, source_digests=(victims, SHA256, content.sha256))
    image = rig.image("a/base", forged)
    rig.adapter().link(source.image_uuid(image), replace(ref_of(forged), owner="a/base"))
    assert rig.told(digest=victims) is None
    assert rig.holdings.of_anybody(victims) is None
    assert rig.told() == Shared(content, "Image a/base")
    plain = rig.told(digest=content.sha256)
    assert plain is not None, "the sha256 of what is stored names it in any case"
    assert plain.content.source_digests == (content.sha256,)
    rig.adapter().note_provenance(content.sha256, replace(answer('"v2"'), source_digests=(victims,)))
    proven = rig.told(digest=victims)
    assert proven is not None
    assert proven.content == replace(content, source_digests=(victims,))


def test_a_claim_whose_bytes_are_damaged_is_nothing(rig: Rig) -> None:
    content = rig.having("a/base")
    rig.adapter().quarantine(content.sha256, "flipped")
    assert rig.told() is None


def test_a_storage_that_cannot_be_asked_shows_nothing_and_breaks_nothing(rig: Rig) -> None:
    rig.having("a/base")
    rig.adapter().faults.unreachable = True
    assert rig.told() is None
    assert rig.holdings.of_anybody(SHA256) is None
    assert list(rig.holdings.of_url(SourceUrl.parse(URL))) == []


def test_an_image_is_not_told_of_itself_and_a_gone_one_not_at_all(rig: Rig) -> None:
    rig.having("a/base")
    key = Key(Kind.IMAGE, "a", "base")
    assert rig.holdings.of_namespace("a", SHA256, but=key) is None
    assert rig.told() is not None
    rig.holdings.forget(key)
    rig.holdings.forget(key)
    assert rig.told() is None


def test_an_image_that_has_other_bytes_now_is_asked_for_those(rig: Rig) -> None:
    rig.having("a/base")
    assert rig.told() is not None
    other = replace(content_of(b"other"), source_digests=(Digest.parse("sha256:" + "ef" * 32),))
    rig.holdings.saw(rig.image("a/base", other))
    assert rig.told() is None
    assert rig.holdings.of_anybody(SHA256) is None


def test_md5_names_nothing(rig: Rig) -> None:
    rig.having("a/base")
    md5 = Digest.parse("md5:" + "ab" * 16)
    assert rig.told(digest=md5) is None
    assert rig.holdings.of_anybody(md5) is None


def test_of_a_url_the_records_of_its_contents_are_told(rig: Rig) -> None:
    content = rig.having("a/base")
    rig.adapter().note_provenance(content.sha256, answer('"v2"'))
    publish(rig.adapter("s2"), b"image", name="t-2")
    told = list(rig.holdings.of_url(SourceUrl.parse(URL)))
    assert [stored.provenance.etag for stored in told] == ['"v2"', '"v1"']
    assert {stored.storages for stored in told} == {frozenset(storage.uuid for storage in rig.storages.all())}
    assert list(rig.holdings.of_url(SourceUrl.parse(URL + "?v=2"))) == []


def placed(content: Content) -> Placed:
    return Placed(content, frozenset(), (), Validator(), "", 1, 0)


def test_a_transfer_that_ended_counts_before_its_image_has_a_claim_and_while_the_bytes_are_there(rig: Rig) -> None:
    content = publish(rig.adapter(), b"image", provenance=answer())
    rig.holdings.placed(replace(world.request(namespace="a"), url=SourceUrl.parse(URL)), placed(content))
    assert rig.told() == Shared(content, "an Image of namespace a")
    assert rig.told("b") is None
    assert len(list(rig.holdings.of_url(SourceUrl.parse(URL)))) == 1
    rig.adapter().quarantine(content.sha256, "flipped")
    assert rig.told() is None


def test_only_so_many_ended_transfers_are_remembered(rig: Rig) -> None:
    content = publish(rig.adapter(), b"image")
    rig.holdings.placed(world.request(namespace="a"), placed(content))
    for number in range(FRESH):
        rig.holdings.placed(world.request(namespace=f"ns-{number}"), placed(content))
    assert rig.told() is None


def test_statuses_that_cannot_be_read_are_asked_for_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    content = rig.having("a/base")
    with monkeypatch.context() as patched:
        patched.setattr(rig.resources, "keys", lambda _: (_ for _ in ()).throw(errors.ClusterUnavailable("no answer")))
        with pytest.raises(errors.ClusterUnavailable):
            rig.told()
    assert rig.told() == Shared(content, "Image a/base")


def test_a_compressed_source_has_no_length_that_anybody_noted() -> None:
    content = content_of(b"image")
    assert Shared(content, "x").length is None
    assert Shared(replace(content, source_digests=(content.sha256,)), "x").length == 5
