"""A pass that asks a checksum list first: what it expects then, and what it does where the list is no help."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from controller import errors
from controller.engine.transfer import one_pass
from controller.model.digest import Digest
from controller.model.image import ChecksumFrom, Content, Format, SignedBy
from controller.model.secret import KEYS_TYPE, Secret
from controller.model.transfer import Broken, Placed
from controller.model.url import SourceUrl
from controller.ports import Secrets, SignatureVerifier, Verified
from controller.reasons import Reason
from tests.fakes.secrets import FakeSecrets, secret
from tests.fakes.source import FakeSource
from tests.unit.engine.transfer import world
from tests.unit.engine.transfer.world import KIB, Storages

IMAGE = random.Random(9).randbytes(20 * KIB)
LIST = SourceUrl.parse("https://images.example/SHA256SUMS?sig=hunter2")
URL = world.request().url


def digest(algorithm: str, data: bytes = IMAGE) -> Digest:
    return Digest.parse(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


def source_with(text: str | None) -> FakeSource:
    source = FakeSource()
    source.put(URL, IMAGE)
    if text is not None:
        source.put(LIST, text.encode())
    return source


def run(
    source: FakeSource,
    storages: Storages,
    *,
    entry: str | None = None,
    known: tuple[Content, ...] = (),
    signed: SignedBy | None = None,
    secrets: Secrets | None = None,
    verifier: SignatureVerifier | None = None,
) -> Placed | Broken:
    request = replace(world.request("a", "b"), checksum_from=ChecksumFrom(LIST, entry, signed), known=known)
    result = one_pass.run(
        request,
        source,
        storages,
        world.RealClock(),
        world.NEVER,
        lambda _: None,
        world.PACE,
        secrets,
        verifier,
    )
    assert source.open_bodies == 0
    assert not any(storages.leftovers().values())
    return result


def broken(source: FakeSource, reason: Reason, *, terminal: bool = True) -> str:
    """Run; nothing may be placed and no byte of the image asked for. Return what is said."""
    storages = world.storages("a", "b")
    result = run(source, storages)
    assert isinstance(result, Broken), result
    assert (result.failure.reason, result.failure.terminal) == (reason, terminal), result.failure.message
    assert not any(storage.contents for storage in storages.values())
    assert "hunter2" not in result.failure.message
    return result.failure.message


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
def test_what_the_list_says_is_expected_and_recorded(algorithm: str) -> None:
    source = source_with(f"{digest(algorithm).hex}  golden.img\n")
    result = run(source, world.storages("a", "b"))
    assert isinstance(result, Placed), result
    assert result.proof == f"checksum list {algorithm}"
    assert digest(algorithm) in result.content.source_digests
    assert digest("sha256") in result.content.source_digests
    assert [request.url for request in source.asked] == [LIST, URL], "the list comes first"


def test_an_entry_is_looked_for_by_its_own_name() -> None:
    text = f"{digest('sha256', b'').hex}  golden.img\n{digest('sha256').hex}  iso-cd/other.img\n"
    assert isinstance(run(source_with(text), world.storages("a", "b"), entry="iso-cd/other.img"), Placed)


def test_other_bytes_than_the_list_says_are_nowhere() -> None:
    promised = digest("sha256", b"")
    message = broken(source_with(f"{promised.hex}  golden.img\n"), Reason.CHECKSUM_MISMATCH)
    assert f"expected {promised} (as https://images.example/SHA256SUMS says), got {digest('sha256')}" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{digest('sha256').hex}  other.img\n", Reason.SOURCE_NOT_FOUND),
        (None, Reason.SOURCE_NOT_FOUND),
        ("<html>log in</html>", Reason.FORMAT_REJECTED),
        (f"{digest('sha256').hex}  golden.img\n" * 2, Reason.FORMAT_REJECTED),
        ("#" * (2**20 + 1), Reason.TOO_LARGE),
    ],
    ids=["no entry", "no list", "html", "twice", "large"],
)
def test_a_list_that_does_not_say_ends_it_before_the_image_is_asked_for(text: str | None, reason: Reason) -> None:
    source = source_with(text)
    assert broken(source, reason).startswith("the checksum list https://images.example/SHA256SUMS: ")
    assert [request.url for request in source.asked] == [LIST]


def test_a_large_list_of_unknown_length_is_left_where_it_is() -> None:
    source = source_with("#\n" * 2**20)
    source.sized = False
    broken(source, Reason.TOO_LARGE)
    assert source.given_bytes <= 2**20 + 1


def test_a_list_that_may_have_been_cut_is_not_believed() -> None:
    source = source_with(f"{digest('sha256').hex}  golden.img\n")
    source.sized = False
    assert "a cut cannot be told from the end" in broken(source, Reason.SOURCE_UNREACHABLE, terminal=False)


def test_a_source_that_does_not_answer_is_tried_again() -> None:
    source = source_with(None)
    source.refuse = [errors.SourceUnreachable("connection reset")]
    message = broken(source, Reason.SOURCE_UNREACHABLE, terminal=False)
    assert message == "the checksum list https://images.example/SHA256SUMS: connection reset"


def content_of(data: bytes) -> Content:
    return Content(
        digest("sha256", data),
        digest("md5", data),
        len(data),
        len(data),
        Format.RAW,
        (digest("md5", data), digest("sha256", data)),
    )


def test_a_content_that_is_known_is_not_fetched() -> None:
    source = source_with(f"{digest('sha256').hex}  golden.img\n")
    known = content_of(IMAGE)
    result = run(source, world.storages("a", "b"), known=(content_of(b"older"), known))
    assert isinstance(result, Placed), result
    assert (result.content, result.proof, result.fetched_bytes) == (known, "checksum list sha256", 0)
    assert [request.url for request in source.asked] == [LIST]


def test_a_known_content_is_fetched_again_where_the_list_has_only_an_md5() -> None:
    source = source_with(f"{digest('md5').hex}  golden.img\n")
    result = run(source, world.storages("a", "b"), known=(content_of(IMAGE),))
    assert isinstance(result, Placed), result
    assert result.fetched_bytes == len(IMAGE)


# --- signatures -----------------------------------------------------------------------------------------------------

SIGNATURE = SourceUrl.parse("https://images.example/SHA256SUMS.gpg?sig=hunter2")
KEYS = Secret("default", "keys", KEYS_TYPE, {"b": b"key-b", "a": b"key-a"})


class FakeVerifier:
    """Takes a signature that says `good` for one, and a list as clear-signed where it begins so."""

    def __init__(self, expired_at: datetime | None = None) -> None:
        self.asked: list[tuple[bytes, bytes | None, tuple[bytes, ...]]] = []
        self.expired_at = expired_at

    def verify(self, data: bytes, signature: bytes | None, keys: Sequence[bytes]) -> Verified:
        self.asked.append((data, signature, tuple(keys)))
        if signature not in {None, b"good"}:
            raise errors.SignatureInvalid("it was made by the key 00, which keyRef does not hold")
        return Verified(data.removeprefix(b"signed:"), "00", self.expired_at)


def signed_by(url: SourceUrl = SIGNATURE) -> SignedBy:
    return SignedBy(url, "keys")


def test_a_signed_list_is_proof_of_another_kind() -> None:
    text = f"{digest('sha256').hex}  golden.img\n"
    source, verifier = source_with(text), FakeVerifier()
    source.put(SIGNATURE, b"good")
    result = run(source, world.storages("a", "b"), signed=signed_by(), secrets=FakeSecrets(KEYS), verifier=verifier)
    assert isinstance(result, Placed), result
    assert result.proof == "signed list sha256"
    assert verifier.asked == [(text.encode(), b"good", (b"key-a", b"key-b"))]
    assert [request.url for request in source.asked] == [LIST, SIGNATURE, URL]


def test_a_key_that_has_expired_since_is_told() -> None:
    source, verifier = (
        source_with(f"{digest('sha256').hex}  golden.img\n"),
        FakeVerifier(datetime(2024, 1, 31, tzinfo=UTC)),
    )
    source.put(SIGNATURE, b"good")
    result = run(source, world.storages("a", "b"), signed=signed_by(), secrets=FakeSecrets(KEYS), verifier=verifier)
    assert isinstance(result, Placed), result
    assert result.proof == "signed list sha256, by a key that expired on 2024-01-31"


def test_of_a_clear_signed_list_only_what_is_signed_counts() -> None:
    source, verifier = source_with(f"signed:{digest('sha256').hex}  golden.img\n"), FakeVerifier()
    result = run(source, world.storages("a", "b"), signed=signed_by(LIST), secrets=FakeSecrets(KEYS), verifier=verifier)
    assert isinstance(result, Placed), result
    assert verifier.asked[0][1] is None
    assert [request.url for request in source.asked] == [LIST, URL], "the list is asked once"


@pytest.mark.parametrize(
    ("signature", "keys", "reason", "said"),
    [
        (b"bad", KEYS, Reason.SIGNATURE_INVALID, "the signature https://images.example/SHA256SUMS.gpg: it was made by"),
        (None, KEYS, Reason.SOURCE_NOT_FOUND, "the signature https://images.example/SHA256SUMS.gpg: "),
        (b"good", None, Reason.DEPENDENCY_NOT_READY, "Secret default/keys is not there"),
        (b"good", replace(secret(token="t"), name="keys"), Reason.POLICY_DENIED, "is not of type goldmaster.dev/keys"),
        (b"good", replace(KEYS, data={}), Reason.DEPENDENCY_NOT_READY, "holds no key"),
    ],
    ids=["bad", "absent", "no secret", "another secret", "empty secret"],
)
def test_without_a_good_signature_no_byte_of_the_image_is_asked_for(
    signature: bytes | None, keys: Secret | None, reason: Reason, said: str
) -> None:
    source, storages = source_with(f"{digest('sha256').hex}  golden.img\n"), world.storages("a", "b")
    if signature is not None:
        source.put(SIGNATURE, signature)
    secrets = FakeSecrets(*([keys] if keys else []))
    result = run(source, storages, signed=signed_by(), secrets=secrets, verifier=FakeVerifier())
    assert isinstance(result, Broken)
    assert (result.failure.reason, result.failure.terminal) == (reason, reason is not Reason.DEPENDENCY_NOT_READY)
    assert said in result.failure.message
    assert "hunter2" not in result.failure.message
    assert URL not in [request.url for request in source.asked]
