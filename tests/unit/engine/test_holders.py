"""Who has a uuid."""

from controller.engine.holders import Holders
from controller.model.resource import Key, Kind

A, B = Key(Kind.IMAGE, "default", "a"), Key(Kind.IMAGE, "default", "b")


def test_who_asks_first_has_it() -> None:
    holders = Holders()
    assert holders.of("1", A) == A
    assert holders.of("1", B) == A


def test_what_was_given_to_another_is_not_forgotten_with_who_had_it() -> None:
    holders = Holders()
    holders.of("1", A)
    holders.give("1", B)
    holders.forget(A)
    assert holders.of("1", A) == B


def test_with_an_image_all_that_it_had_is_forgotten() -> None:
    holders = Holders()
    holders.of("1", A)
    holders.of("2", A)
    holders.of("3", B)
    holders.forget(A)
    assert len(holders) == 1
    assert (holders.of("1", B), holders.of("2", B), holders.of("3", A)) == (B, B, B)


def test_one_that_has_nothing_can_be_forgotten() -> None:
    holders = Holders()
    holders.give("1", A)
    holders.forget(B)
    holders.forget(A)
    holders.forget(A)
    assert len(holders) == 0
