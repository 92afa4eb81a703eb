"""OpenPGP signatures, verified by Sequoia (pysequoia). Keys are those that are handed in; nobody else is asked.

Sequoia judges a signature at the time at which it was made: one made while its key was valid stays good. It says
only that none is good; why, is found out here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pysequoia
from pysequoia import packet

from controller import errors
from controller.ports import Clock, Verified

CLEAR_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"


@dataclass(frozen=True, slots=True)
class _Key:
    """A key that may sign: the primary one of its certificate, or a subkey."""

    cert: pysequoia.Cert
    fingerprint: str
    revoked: bool
    expires: datetime | None


class OpenPgp:
    """Implements `ports.SignatureVerifier`. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def verify(self, data: bytes, signature: bytes | None, keys: Sequence[bytes]) -> Verified:
        """Return what is signed and how good that is. See `ports.SignatureVerifier`."""
        known = [key for cert in _certs(keys) for key in _keys(cert)]
        if signature is None:
            if not data.lstrip().startswith(CLEAR_SIGNED):
                raise errors.SignatureInvalid("it is not clear-signed")
            made = _signatures(data[data.rfind(b"-----BEGIN PGP SIGNATURE-----") :])
            return self._verified(data, None, made, known)
        if signature.lstrip().startswith(CLEAR_SIGNED):
            raise errors.SignatureInvalid("it is clear-signed, not a signature beside the list: name it as the list")
        made = _signatures(signature)
        for one in made:
            if _good(data, one, known) is not None:
                return self._verified(data, one, made, known)
        raise errors.SignatureInvalid(_why_not(made, known))

    def _verified(
        self, data: bytes, signature: pysequoia.Sig | None, made: list[pysequoia.Sig], known: list[_Key]
    ) -> Verified:
        found = _good(data, signature, known)
        if found is None or found.bytes is None:
            raise errors.SignatureInvalid(_why_not(made, known))
        signers = {one.signing_key for one in found.valid_sigs}
        good = [key for key in known if key.fingerprint in signers and not key.revoked]
        if not good:
            raise errors.SignatureInvalid(_why_not(made, known))
        expired = good[0].expires if good[0].expires and good[0].expires <= self._clock.now() else None
        return Verified(bytes(found.bytes), good[0].fingerprint, expired)


def _good(data: bytes, signature: pysequoia.Sig | None, known: list[_Key]) -> pysequoia.Decrypted | None:
    """Ask Sequoia; None: no good signature by a key that is not revoked."""
    certs = [key.cert for key in known]
    try:
        found = pysequoia.verify(bytes=data, store=lambda _: certs, signature=signature)
    except RuntimeError:
        return None
    usable = {key.fingerprint for key in known if not key.revoked}
    return found if any(one.signing_key in usable for one in found.valid_sigs) else None


def _certs(keys: Sequence[bytes]) -> Iterator[pysequoia.Cert]:
    for one in keys:
        try:
            certs = pysequoia.Cert.split_bytes(one)
        except (RuntimeError, ValueError):
            certs = []
        if not certs:
            raise errors.DependencyNotReady("it holds no OpenPGP certificate")
        yield from certs


def _keys(cert: pysequoia.Cert) -> Iterator[_Key]:
    """Yield the keys of a certificate with what its own signatures say of each."""
    packets = list(packet.PacketPile.from_bytes(bytes(cert)))
    starts = [index for index, one in enumerate(packets) if one.fingerprint is not None]
    for start, end in zip(starts, [*starts[1:], len(packets)], strict=True):
        key = packets[start]
        if key.fingerprint == cert.fingerprint:
            yield _Key(cert, cert.fingerprint, cert.is_revoked, cert.expiration)
            continue
        said = [one for one in packets[start + 1 : end] if one.tag == packet.Tag.Signature]
        revoked = any(one.signature_type == packet.SignatureType.SubkeyRevocation for one in said)
        bindings = [one for one in said if one.signature_type == packet.SignatureType.SubkeyBinding]
        newest = max(bindings, key=lambda one: one.signature_created, default=None)
        period = newest.key_validity_period if newest is not None else None
        own = key.key_created + period if period and key.key_created else None
        ends = [moment for moment in (own, cert.expiration) if moment is not None]
        yield _Key(cert, key.fingerprint or "", revoked or cert.is_revoked, min(ends, default=None))


def _signatures(data: bytes) -> list[pysequoia.Sig]:
    """Read every signature of a file: publishers change keys by signing with the old and the new one."""
    try:
        found = [
            pysequoia.Sig.from_bytes(bytes(one))
            for one in packet.PacketPile.from_bytes(data)
            if one.signature_type in (packet.SignatureType.Binary, packet.SignatureType.Text)
        ]
    except (RuntimeError, ValueError):
        found = []
    if not found:
        raise errors.SignatureInvalid("it is no OpenPGP signature")
    return found


def _why_not(made: list[pysequoia.Sig], known: list[_Key]) -> str:
    """Say what is wrong with each signature."""
    return "; ".join(dict.fromkeys(_why_not_one(one, known) for one in made[:4]))


def _why_not_one(signature: pysequoia.Sig, known: list[_Key]) -> str:
    named = (signature.issuer_fingerprint or signature.issuer_key_id or "").lower()
    key = next((key for key in known if named and key.fingerprint.endswith(named)), None)
    if key is None:
        return f"it was made by the key {named or 'of nobody'}, which keyRef does not hold"
    if key.revoked:
        return f"it was made by the key {named}, which is revoked"
    made = signature.created
    if made is not None and key.expires is not None and made >= key.expires:
        return f"it was made on {made:%Y-%m-%d}, after the key {named} expired on {key.expires:%Y-%m-%d}"
    return f"it was made by the key {named}, but not of this list, or not in a way that is still trusted"
