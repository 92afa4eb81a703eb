"""What a full storage says could be freed."""

from controller.plan.room import Held, Holder, Use, advice

GIB = 2**30


def held(*holders: Holder, storage: str = "s1") -> Held:
    return Held("0" * 32, storage, holders)


def test_the_largest_of_the_own_namespace_are_named_with_what_frees_them() -> None:
    own = [Holder(Use.TRASH, "team", f"t{number}", (9 - number) * GIB) for number in range(2)]
    own.append(Holder(Use.HISTORY, "team", "web", 2 * GIB))
    own += [Holder(Use.HISTORY, "team", f"h{number}", GIB) for number in range(2)]
    others = [Holder(Use.TRASH, "secret", "plan", 5 * GIB), Holder(Use.HISTORY, "hidden", "x", GIB)]
    told = advice([held(*own, *others)], "team")
    assert told == (
        "; could be freed on s1: 9Gi by goldmaster trash expunge t0 -n team, "
        "8Gi by goldmaster trash expunge t1 -n team, "
        "2Gi by spec.revisionHistoryLimit: 0 of team/web, 2Gi of 2 more images, 6Gi in other namespaces"
    )
    assert "secret" not in told
    assert "plan" not in told


def test_nothing_to_free_and_nothing_measured_are_two_things() -> None:
    assert advice([held()], "team") == "; could be freed on s1: nothing, as all of it is served"
    assert advice([], "team") == ""


def test_damaged_bytes_that_are_kept_for_a_person_are_told_of_to_everybody() -> None:
    """They are nobody's: that they are there says nothing of another namespace."""
    full = Held("0" * 32, "s1", (Holder(Use.TRASH, "team", "old", GIB),), quarantine_bytes=3 * GIB)
    assert advice([full], "team") == (
        "; could be freed on s1: 1Gi by goldmaster trash expunge old -n team, "
        "3Gi by goldmaster quarantine expunge --all --storage s1"
    )
    assert advice([Held("0" * 32, "s1", (), quarantine_bytes=GIB)], "x").endswith(
        ": 1Gi by goldmaster quarantine expunge --all --storage s1"
    )


def test_each_storage_is_told() -> None:
    two = [held(Holder(Use.TRASH, "team", "old", GIB)), held(storage="s2")]
    assert advice(two, "team") == (
        "; could be freed on s1: 1Gi by goldmaster trash expunge old -n team; on s2: nothing, as all of it is served"
    )
