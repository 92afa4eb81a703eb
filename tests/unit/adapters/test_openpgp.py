"""Signatures by good, unknown, revoked and expired keys. The oracle for ages is GnuPG (tests/data/openpgp)."""

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysequoia import Cert, Sig, SignatureMode, Tsk, sign

from controller import errors
from controller.adapters.clock import SystemClock
from controller.adapters.openpgp import OpenPgp
from controller.ports import Verified

DATA = Path(__file__).parents[2] / "data" / "openpgp"
LIST = (DATA / "SHA256SUMS").read_bytes()
KEY, OTHER = Tsk.generate("publisher"), Tsk.generate("somebody else")


def public(key: Tsk) -> bytes:
    return bytes(key.extract_certificate())


def detached(key: Tsk, data: bytes = LIST) -> bytes:
    return bytes(sign(key.signer(), data, mode=SignatureMode.DETACHED))


def clear(key: Tsk, data: bytes = LIST) -> bytes:
    return bytes(sign(key.signer(), data, mode=SignatureMode.CLEAR))


def verify(data: bytes, signature: bytes | None, *keys: bytes) -> Verified:
    return OpenPgp(SystemClock()).verify(data, signature, keys)


def refused(data: bytes, signature: bytes | None, *keys: bytes) -> str:
    with pytest.raises(errors.SignatureInvalid) as caught:
        verify(data, signature, *keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_detached_signature_by_a_known_key_is_good() -> None:
    for keys in ([public(KEY)], [str(KEY.extract_certificate()).encode()], [public(OTHER), public(KEY)]):
        found = verify(LIST, detached(KEY), *keys)
        assert (found.text, found.expired_at) == (LIST, None)
        assert len(found.fingerprint) == 40


def test_several_keys_may_stand_in_one_file() -> None:
    assert verify(LIST, detached(KEY), public(OTHER) + public(KEY)).text == LIST


def test_of_a_clear_signed_list_only_the_signed_text_comes_back() -> None:
    signed = clear(KEY)
    assert verify(signed, None, public(KEY)).text.split() == LIST.split()
    assert b"evil" not in verify(signed + b"0000  evil.img\n", None, public(KEY)).text
    assert refused(b"0000  evil.img\n" + signed, None, public(KEY)) == "it is not clear-signed"


def test_one_good_signature_of_several_is_enough() -> None:
    """As publishers have it while they change keys."""
    both = b"".join(bytes(Sig.from_bytes(detached(key))) for key in (OTHER, KEY))
    assert verify(LIST, both, public(KEY)).text == LIST
    assert verify(LIST, both, public(OTHER)).text == LIST
    third = Tsk.generate("third")
    assert refused(LIST, both, public(third)).count("which keyRef does not hold") == 2


def test_another_key_is_refused_and_named() -> None:
    said = refused(LIST, detached(OTHER), public(KEY))
    assert said.startswith("it was made by the key ")
    assert said.endswith(", which keyRef does not hold")
    assert refused(clear(OTHER), None, public(KEY)).endswith(", which keyRef does not hold")


def test_a_signature_of_another_file_is_refused() -> None:
    assert "but not of this list" in refused(LIST + b"x", detached(KEY), public(KEY))
    assert "but not of this list" in refused(clear(KEY).replace(b"a.img", b"b.img"), None, public(KEY))


def test_a_revoked_key_is_refused_even_for_what_it_signed_before() -> None:
    signature, inline = detached(KEY), clear(KEY)
    cert = KEY.extract_certificate()
    revoked = bytes(Cert.from_bytes(bytes(cert) + bytes(cert.revoke(KEY.certifier()))))
    assert refused(LIST, signature, revoked).endswith(", which is revoked")
    assert refused(inline, None, revoked).endswith(", which is revoked")


def test_what_was_signed_while_the_key_was_valid_is_good_and_the_expiry_is_told() -> None:
    key = (DATA / "expired.asc").read_bytes()
    found = verify(LIST, (DATA / "made-before-expiry.asc").read_bytes(), key)
    assert found.expired_at == datetime(2024, 1, 31, tzinfo=UTC)
    inline = verify((DATA / "clear-signed.asc").read_bytes(), None, key)
    assert inline.text.rstrip() == LIST.rstrip()
    assert inline.expired_at == datetime(2024, 1, 31, tzinfo=UTC)


def test_what_was_signed_after_the_key_expired_is_refused_with_both_dates() -> None:
    said = refused(LIST, (DATA / "made-after-expiry.asc").read_bytes(), (DATA / "shortened.asc").read_bytes())
    assert said.startswith("it was made on 2024-03-01, after the key ")
    assert said.endswith(" expired on 2024-02-01")


def test_a_key_that_expires_later_is_good_until_then() -> None:
    """Told from the day on that our clock says so, not from the day of the signature."""
    key = Tsk.generate("short", validity_seconds=3600)
    signature = detached(key)

    class Later(SystemClock):
        def now(self) -> datetime:
            return super().now() + timedelta(days=1)

    assert verify(LIST, signature, public(key)).expired_at is None
    assert OpenPgp(Later()).verify(LIST, signature, [public(key)]).expired_at is not None


@pytest.mark.parametrize("signature", [b"", b"junk", b"<html>", public(KEY), b"-----BEGIN PGP SIGNATURE-----\n"])
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    assert refused(LIST, signature, public(KEY)) == "it is no OpenPGP signature"


def test_detached_and_clear_signed_are_not_taken_for_each_other() -> None:
    assert refused(LIST, None, public(KEY)) == "it is not clear-signed"
    assert "name it as the list" in refused(LIST, clear(KEY), public(KEY))
    assert refused(bytes(sign(KEY.signer(), LIST)), None, public(KEY)) == "it is not clear-signed"


@pytest.mark.parametrize("keys", [[b""], [b"junk"], [public(KEY), b"junk"]])
def test_keys_that_are_none_make_it_wait(keys: list[bytes]) -> None:
    with pytest.raises(errors.DependencyNotReady, match="holds no OpenPGP certificate"):
        verify(LIST, detached(KEY), *keys)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_by_one_of_our_errors(data: bytes) -> None:
    refused(LIST, data, public(KEY))
    refused(b"-----BEGIN PGP SIGNED MESSAGE-----\n" + data, None, public(KEY))


@given(st.integers(0, len(detached(KEY)) - 1), st.integers(1, 255))
def test_a_flipped_byte_never_makes_other_text_good(position: int, mask: int) -> None:
    signed = bytearray(clear(KEY))
    signed[position % len(signed)] ^= mask
    with contextlib.suppress(errors.SignatureInvalid):
        assert verify(bytes(signed), None, public(KEY)).text.split() == LIST.split()
