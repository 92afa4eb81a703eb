"""A digest is an algorithm and a value of its length; nothing is guessed."""

import dataclasses

import pytest

from controller import errors
from controller.model.digest import Algorithm, Digest


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_digest_is_written_as_it_is_read(algorithm: Algorithm) -> None:
    text = f"{algorithm}:{'0a' * (algorithm.hex_digits // 2)}"
    assert str(Digest.parse(text)) == text


def test_upper_case_digits_are_the_same_value() -> None:
    assert Digest.parse("md5:" + "AB" * 16) == Digest.parse("md5:" + "ab" * 16)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "without an algorithm"),
        ("a" * 64, "without an algorithm"),
        ("sha256=" + "a" * 64, "without an algorithm"),
        ("SHA256:" + "a" * 64, "unknown checksum algorithm 'SHA256'; known: md5, sha1, sha256, sha512"),
        ("crc32:00000000", "unknown checksum algorithm"),
        ("sha3-256:" + "a" * 64, "unknown checksum algorithm"),
        (":" + "a" * 64, "unknown checksum algorithm"),
        ("\ufeffsha256:" + "a" * 64, "unknown checksum algorithm"),
        ("sha256:" + "a" * 63, "a sha256 digest is 64 lower-case hexadecimal digits"),
        ("sha256:" + "a" * 65, "a sha256 digest is 64"),
        ("sha256:" + "a" * 63 + "g", "a sha256 digest is 64"),
        ("sha256:" + "a" * 64 + "\n", "a sha256 digest is 64"),
        ("sha256: " + "a" * 63, "a sha256 digest is 64"),
        ("sha256:" + "a" * 64 + " *disk.qcow2", "a sha256 digest is 64"),
        ("md5:" + "a" * 64, "a md5 digest is 32"),
        ("sha512:", "a sha512 digest is 128"),
        ("md5:" + "\uff11" * 32, "a md5 digest is 32"),
    ],
)
def test_what_is_no_checksum_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(errors.InvalidSpec, match=message.replace("(", r"\(")):
        Digest.parse(text)


def test_only_collision_resistant_algorithms_identify_content() -> None:
    assert [algorithm for algorithm in Algorithm if algorithm.identifies] == [Algorithm.SHA256, Algorithm.SHA512]


def test_digests_match_only_within_their_algorithm() -> None:
    sha256 = Digest(Algorithm.SHA256, "a" * 64)
    assert sha256.matches(Digest(Algorithm.SHA256, "a" * 64))
    assert not sha256.matches(Digest(Algorithm.SHA256, "b" * 64))
    assert not sha256.matches(Digest(Algorithm.MD5, "a" * 32))


def test_a_digest_cannot_be_made_wrong_or_changed() -> None:
    with pytest.raises(errors.InvalidSpec):
        Digest(Algorithm.MD5, "A" * 32)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Digest(Algorithm.MD5, "a" * 32).hex = "b" * 32  # type: ignore[misc]
