"""What Git calls things."""

import pytest

from controller.model import git


def test_a_revision_reads_as_flux_writes_it() -> None:
    assert git.revision("main", "a" * 40) == f"main@sha1:{'a' * 40}"
    assert git.revision(None, "a" * 40) == f"sha1:{'a' * 40}"
    assert git.revision("team/main", "b" * 64) == f"team/main@sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("revision", "short"),
    [
        (f"main@sha1:{'a' * 40}", f"main@sha1:{'a' * 12}"),
        (f"main@sha1:{'a' * 40}-dirty", f"main@sha1:{'a' * 12}-dirty"),
        (f"team-b/main@sha1:{'a' * 40}", f"team-b/main@sha1:{'a' * 12}"),
        (f"sha256:{'b' * 64}", f"sha256:{'b' * 12}"),
    ],
)
def test_a_column_has_the_first_digits(revision: str, short: str) -> None:
    assert git.short(revision) == short


def test_the_ids_of_a_file_are_those_that_git_gives() -> None:
    """`printf 'hello\\n' | git hash-object --stdin`, in a repository of each kind."""
    assert git.blob_ids(b"hello\n") == {
        "ce013625030ba8dba906f756967f9e9ca394464a",
        "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4",
    }
