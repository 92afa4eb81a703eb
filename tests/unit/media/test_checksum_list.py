"""Checksum lists as publishers write them, and as nobody honest does."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.media import checksum_list
from controller.model.digest import Algorithm, Digest

HEX = {algorithm: hashlib.new(algorithm, b"image").hexdigest() for algorithm in Algorithm}
OTHER = {algorithm: hashlib.new(algorithm, b"other").hexdigest() for algorithm in Algorithm}
SHA, NOT = HEX[Algorithm.SHA256], OTHER[Algorithm.SHA256]
WANTED = Digest(Algorithm.SHA256, SHA)
FEDORA = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# a.img: 469630976 bytes
SHA256 (a.img) = {SHA}
-----BEGIN PGP SIGNATURE-----

iQIzBAEBCAAdFiEE
-----END PGP SIGNATURE-----
"""


def find(text: str, name: str = "a.img") -> Digest:
    return checksum_list.find(text.encode(), name)


@pytest.mark.parametrize("algorithm", Algorithm)
def test_the_three_forms_of_each_algorithm(algorithm: Algorithm) -> None:
    """As md5sum to sha512sum, their --tag, openssl, and a publisher with one file print them."""
    wanted = Digest(algorithm, HEX[algorithm])
    value, other = HEX[algorithm], OTHER[algorithm]
    assert find(f"{other}  b.img\n{value}  a.img\n") == wanted
    assert find(f"{other} *b.img\n{value} *a.img\n") == wanted
    assert find(f"{algorithm.name} (b.img) = {other}\n{algorithm.name} (a.img) = {value}\n") == wanted
    assert find(f"{algorithm.name}(a.img)= {value}\n") == wanted
    assert find(f"{value}\n") == wanted
    assert find(value.upper()) == wanted


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{SHA}  a.img\r\n{NOT}  b.img\r\n",
        f"\ufeffSHA256 (a.img) = {SHA}\r\n",
        f"\ufeff{SHA}\r\n\r\n",
        f"# comment\n\n{SHA}  a.img",
        f"{SHA}  ./a.img\n",
        f"{SHA}  b/a.img\n{SHA}  a.img\n{NOT}  A.img\n",
        f"{OTHER[Algorithm.MD5]}0000  odd.img\nSIZE (b.img) = 123\nBLAKE2b (b.img) = 00\n{SHA}  a.img\n".replace(
            "BLAKE2b", "BLAKE2B"
        ),
    ],
)
def test_what_honest_lists_have_beside_the_line_is_passed_over(text: str) -> None:
    assert find(text) == WANTED


def test_of_a_clear_signed_list_the_text_within_is_read() -> None:
    assert find(FEDORA) == WANTED
    assert find(FEDORA.replace("\n", "\r\n")) == WANTED
    assert find(FEDORA.replace("SHA256 (a.img)", "- SHA256 (a.img)")) == WANTED, "dash-escaped"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{SHA}  a.img\n{NOT}  a.img\n", "line 2 'a.img' stands in line 1"),
        (f"{SHA}  a.img\n{SHA}  ./a.img\n", "line 2 'a.img' stands in line 1"),
        (f"{SHA}  a.img\nMD5 (a.img) = {HEX[Algorithm.MD5]}\n", "line 2"),
        (f"{SHA}\n{NOT}\n", "line 2 more follows"),
        (f"{SHA}\n{NOT}  a.img\n", "line 2 more follows"),
        ("<!DOCTYPE html><html></html>", "HTML"),
        ("\ufeff \n<?xml version='1.0'?>", "HTML"),
        ("", "no digest"),
        ("\n# nothing\n", "no digest"),
        (f"{SHA} a.img\n", "line 1 is neither"),
        (f" {SHA}  a.img\n", "line 1 is neither"),
        (f"{SHA}  b.img\n404 Not Found\n", "line 2 is neither"),
        (f"{NOT}  b.img\n{SHA}  ../a.img\n", "line 2 has a name that is absolute or climbs"),
        (f"{NOT}  b.img\n{SHA}  /a.img\n", "line 2 has a name that is absolute or climbs"),
        (f"{SHA}  x/./a.img\n", "climbs"),
        (f"{SHA}  x//a.img\n", "climbs"),
        (f"{SHA}  x\\a.img\n", "backslash"),
        (f"\\{SHA}  a\\nb.img\n", "line 1 is neither"),
        (f"{SHA}  a.img\0\n", "control characters"),
        (f"{SHA}  a.img\rb\n", "control characters"),
        (f"{SHA}  a\u202eb\n", "control characters"),
        (f"{SHA[:-1]}  a.img\n", "63 digits"),
        (f"{SHA}{SHA[:32]}  a.img\n", "96 digits"),
        (f"SHA512 (a.img) = {SHA}\n", "64 digits where sha512 has 128"),
        (f"SHA384 (a.img) = {SHA}{SHA[:32]}\n", "the algorithm SHA384"),
        (f"SHA3-256 (a.img) = {SHA}\n", "the algorithm SHA3-256"),
        ("0" * 5000 + "  a.img\n", "line 1 has more than 4096"),
        ("-----BEGIN PGP SIGNED MESSAGE-----\n\n" + f"{SHA}  a.img\n", "no signature"),
        (f"-----BEGIN PGP SIGNED MESSAGE-----\n{SHA}  a.img\n-----BEGIN PGP SIGNATURE-----\n", "no digest"),
        (FEDORA.replace("# a", "- -"), "line 4 is neither"),
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(errors.FormatRejected) as caught:
        find(text)
    assert said in str(caught.value)


def test_what_is_not_utf_8_is_refused_with_its_line() -> None:
    with pytest.raises(errors.FormatRejected, match="line 2 is not UTF-8"):
        checksum_list.find(f"{SHA}  a.img\n".encode() + b"\xff\xfe", "a.img")


def test_a_list_without_the_name_says_what_it_names() -> None:
    text = "".join(f"{SHA}  file-{number}\n" for number in range(7))
    with pytest.raises(errors.SourceNotFound, match=r"no line for 'a\.img'; it names 'file-0'.* and 2 more"):
        find(text)
    with pytest.raises(errors.SourceNotFound, match="name the entry"):
        find(text, "")
    assert find(SHA, "") == WANTED, "a bare digest needs no name"


def test_a_mebibyte_is_enough() -> None:
    text = f"{SHA}  a.img\n".encode()
    assert checksum_list.find(text + b"#" * 4000 + b"\n" * (2**20 - len(text) - 4000), "a.img") == WANTED
    with pytest.raises(errors.TooLarge):
        checksum_list.find(text + b"\n" * 2**20, "a.img")


lines = st.sampled_from(
    [f"{SHA}  a.img", f"{NOT} *a.img", f"SHA256 (a.img) = {NOT}", f"{SHA}", f"{NOT}  b", "", "#", "<", "\\", "-----"]
)


@given(st.lists(lines | st.text(max_size=20), max_size=5).map("\n".join) | st.text())
def test_any_text_gives_a_digest_that_stands_in_it_or_one_of_our_errors(text: str) -> None:
    try:
        found = find(text)
    except (errors.FormatRejected, errors.SourceNotFound):
        return
    assert found.hex in text.lower()


@given(st.binary(max_size=200))
def test_any_bytes_give_one_of_our_errors(data: bytes) -> None:
    with pytest.raises((errors.FormatRejected, errors.SourceNotFound)):
        checksum_list.find(data, "a.img")
