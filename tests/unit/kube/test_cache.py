"""The cache takes news and nothing else, in whichever order it comes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.kube.cache import Cache
from controller.model.resource import Key, Kind
from tests.unit.kube.documents import entry

DEBIAN = Key(Kind.IMAGE, "default", "debian")


def version_of(cache: Cache, key: Key = DEBIAN) -> int | None:
    found = cache.get(key)
    return None if found is None else found.version


def test_only_what_is_newer_is_news() -> None:
    cache = Cache()
    assert cache.accept(entry(version=5))
    assert not cache.accept(entry(version=5))
    assert not cache.accept(entry(version=4))
    assert cache.accept(entry(version=6))
    assert version_of(cache) == 6


def test_the_echo_of_our_own_write_is_no_news() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    cache.answered(entry(version=2))
    assert version_of(cache) == 2
    assert not cache.accept(entry(version=2))


def test_the_echo_that_is_faster_than_the_answer_is_no_news_either() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    cache.writes(DEBIAN)
    assert not cache.accept(entry(version=2))
    cache.answered(entry(version=2))
    assert not cache.wrote(DEBIAN, 2)
    assert cache.accept(entry(version=3))


def test_what_others_change_while_we_write_is_told_afterwards() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    cache.writes(DEBIAN)
    assert not cache.accept(entry(version=2))
    assert not cache.accept(entry(version=3))
    assert cache.wrote(DEBIAN, 2)
    assert version_of(cache) == 3


def test_what_made_our_write_fail_is_told() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    cache.writes(DEBIAN)
    cache.accept(entry(version=2))
    assert cache.wrote(DEBIAN, None)
    assert not cache.wrote(DEBIAN, None)


def test_an_answer_does_not_bring_back_what_is_gone_meanwhile() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    assert cache.remove(DEBIAN, "uid-of-debian", 3)
    cache.answered(entry(version=2))
    assert version_of(cache) is None


def test_a_late_event_does_not_bring_back_what_is_gone() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    cache.remove(DEBIAN, "uid-of-debian", 3)
    assert not cache.accept(entry(version=2))
    assert version_of(cache) is None


def test_a_successor_is_another_object() -> None:
    """The deletion of the old one, told late, does not touch it."""
    cache = Cache()
    cache.accept(entry(version=1, uid="old"))
    assert cache.accept(entry(version=5, uid="new"))
    assert not cache.remove(DEBIAN, "old", 4)
    assert version_of(cache) == 5


def test_a_list_finds_what_the_watch_did_not_tell() -> None:
    cache = Cache()
    cache.accept(entry("gone", 1))
    cache.accept(entry("changed", 2))
    cache.accept(entry("same", 3))
    listed = [entry("changed", 7), entry("same", 3), entry("fresh", 8)]
    compared = cache.compare(Kind.IMAGE, listed, 9, cache.highest)
    assert {key.name for key in compared.missed} == {"changed", "fresh"}
    assert [key.name for key in compared.ghosts] == ["gone"]
    assert [key.name for key in cache.keys(Kind.IMAGE)] == ["changed", "fresh", "same"]
    assert not compared.went_back


def test_what_came_after_a_list_was_made_is_no_ghost() -> None:
    cache = Cache()
    before = cache.highest
    cache.accept(entry("young", 12))
    compared = cache.compare(Kind.IMAGE, [], 10, before)
    assert compared.ghosts == ()
    assert [key.name for key in cache.keys(Kind.IMAGE)] == ["young"]


def test_what_went_after_a_list_was_made_stays_gone() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    before = cache.highest
    cache.remove(DEBIAN, "uid-of-debian", 12)
    assert cache.compare(Kind.IMAGE, [entry(version=1)], 10, before).missed == ()
    assert version_of(cache) is None


def test_a_server_that_was_restored_from_a_backup_is_believed() -> None:
    """Its versions are older than those that were seen: the whole cache is what the list says."""
    cache = Cache()
    cache.accept(entry("lost", 50))
    cache.accept(entry("back", 40))
    compared = cache.compare(Kind.IMAGE, [entry("back", 20)], 30, cache.highest)
    assert compared.went_back
    assert [key.name for key in compared.ghosts] == ["lost"]
    assert version_of(cache, Key(Kind.IMAGE, "default", "back")) == 20
    assert cache.accept(entry("back", 31))


def test_the_graves_of_long_ago_are_levelled() -> None:
    cache = Cache()
    cache.accept(entry(version=1))
    cache.remove(DEBIAN, "uid-of-debian", 3)
    cache.forget_buried(3)
    assert not cache.accept(entry(version=2))
    cache.forget_buried(4)
    assert cache.accept(entry(version=2))


@given(st.permutations(range(1, 8)), st.lists(st.integers(0, 6), max_size=7))
@settings(max_examples=200)
def test_any_order_of_delivery_ends_with_the_newest(order: list[int], repeated: list[int]) -> None:
    """Events, answers and lists overtake each other; twice is as good as once."""
    cache = Cache()
    for position in [*range(7), *repeated]:
        cache.accept(entry(version=order[position]))
    assert version_of(cache) == 7
