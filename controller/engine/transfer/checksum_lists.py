"""Ask a publisher's checksum list what the bytes of a transfer must hash to, before any of them is fetched."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from controller import errors
from controller.engine.transfer import credentials
from controller.media import checksum_list
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, SignedBy
from controller.model.secret import Credentials
from controller.model.transfer import TransferRequest
from controller.model.url import SourceUrl
from controller.ports import FetchRequest, Secrets, SignatureVerifier, Source, StopToken


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list says, and what that is worth: `proof` as a Revision has it."""

    digest: Digest
    proof: str


class ChecksumLists:
    """Asks lists for one transfer; `told` is what its Secret says."""

    def __init__(
        self,
        source: Source,
        stop: StopToken,
        told: Credentials | None = None,
        secrets: Secrets | None = None,
        verifier: SignatureVerifier | None = None,
    ) -> None:
        self._source = source
        self._stop = stop
        self._told = told
        self._secrets = secrets
        self._verifier = verifier

    def ask(self, wanted: ChecksumFrom, request: TransferRequest) -> Listed:
        """Return what the list says about the image.

        Raises:
            FormatRejected, SourceNotFound, TooLarge: of the list. SignatureInvalid: of its signature.
            DependencyNotReady, PolicyDenied: of the keys. And what `Source.open` and `Body.readinto` raise.

        """
        keys: tuple[bytes, ...] = ()
        if wanted.signature is not None:
            keys = credentials.keys(request.namespace, wanted.signature.key_ref, self._secrets)
        with _about(f"the checksum list {wanted.url.redacted}"):
            data = self._fetch(wanted.url, request)
        proof = "checksum list"
        if wanted.signature is not None:
            data, proof = self._signed(wanted, wanted.signature, data, keys, request)
        with _about(f"the checksum list {wanted.url.redacted}"):
            digest = checksum_list.find(data, wanted.entry or request.url.last_segment)
        word, _, rest = proof.partition(",")
        return Listed(digest, f"{word} {digest.algorithm}{rest and ',' + rest}")

    def _signed(
        self, wanted: ChecksumFrom, signed: SignedBy, data: bytes, keys: tuple[bytes, ...], request: TransferRequest
    ) -> tuple[bytes, str]:
        """Return the text that is really signed, and by what it is proven."""
        if self._verifier is None:
            raise errors.DependencyNotReady("nothing here can verify OpenPGP signatures")
        with _about(f"the signature {signed.url.redacted}"):
            beside = None if signed.url == wanted.url else self._fetch(signed.url, request)
            found = self._verifier.verify(data, beside, keys)
        expired = f", by a key that expired on {found.expired_at:%Y-%m-%d}" if found.expired_at else ""
        return found.text, f"signed list{expired}"

    def _fetch(self, url: SourceUrl, request: TransferRequest) -> bytes:
        """Return a small file, all of it; an origin that the credentials are not for is asked without them."""
        limit = checksum_list.MAX_BYTES
        told = self._told if self._told is not None and self._told.allows(url) else None
        asked = FetchRequest(url, request.timeouts, credentials=told, namespace=request.namespace)
        body = self._source.open(asked, self._stop)
        try:
            if body.total_bytes is not None and body.total_bytes > limit:
                raise errors.TooLarge(f"it has {body.total_bytes} bytes, at most {limit} are read")
            data = _read(body.readinto, limit)
            if not body.complete:
                raise errors.SourceUnreachable(
                    "the server did not say how long it is: a cut cannot be told from the end"
                )
            return data
        finally:
            body.close()


def _read(readinto: Callable[[memoryview], int], limit: int) -> bytes:
    buffer = bytearray(limit + 1)
    filled = 0
    while got := readinto(memoryview(buffer)[filled:]):
        filled += got
        if filled > limit:
            raise errors.TooLarge(f"it has more than the {limit} bytes that are read")
    return bytes(buffer[:filled])


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say of every error which file it is about: the image's own errors look the same."""
    try:
        yield
    except (errors.TransientError, errors.TerminalError) as error:
        error.args = (f"{what}: {error}",)
        raise
