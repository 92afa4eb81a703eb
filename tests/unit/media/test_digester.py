"""Digests are those that independent tools compute."""

import subprocess

import pytest

from controller.media.digester import Hasher
from controller.model.digest import Algorithm, Digest

DATA = bytes(range(256)) * 5000
# printf 'golden image' | <algorithm>sum
GOLDEN = {
    Algorithm.MD5: "md5sum",
    Algorithm.SHA1: "sha1sum",
    Algorithm.SHA256: "sha256sum",
    Algorithm.SHA512: "sha512sum",
}


@pytest.mark.parametrize("algorithm", Algorithm)
def test_a_digest_is_what_coreutils_say(algorithm: Algorithm) -> None:
    said = subprocess.run([GOLDEN[algorithm]], input=DATA, capture_output=True, check=True).stdout.split()[0].decode()
    hasher = Hasher(algorithm)
    for start in range(0, len(DATA), 777):
        hasher.update(memoryview(DATA)[start : start + 777])
    assert hasher.digest() == Digest(algorithm, said)


def test_a_digest_may_be_asked_for_on_the_way() -> None:
    hasher = Hasher(Algorithm.SHA256)
    before = hasher.digest()
    hasher.update(DATA)
    after = Hasher(Algorithm.SHA256)
    after.update(DATA)
    assert hasher.digest() == after.digest() != before
