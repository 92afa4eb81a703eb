"""Sharing of stored bytes over real HTTP and TLS: what is fetched, by whom, and who gets nothing.

Every test counts what the server was asked and what it sent.
"""

import gzip
import hashlib
import os

import pytest

from controller.reasons import Reason
from tests.fakes.certificates import Authority
from tests.integration.house import ready, reason
from tests.integration.ranged_server import Served
from tests.integration.tenants import IMAGE, OTHER, PATH, SHA256, SIZE, Tenants, fetched

# --- within a namespace: the digest is enough ---------------------------------------------------------------------


def test_a_digest_that_another_image_of_the_namespace_has_costs_no_request(tenants: Tenants, http: Served) -> None:
    """Nor does a url that nobody serves, in a later process that has to learn it from its state."""
    tenants.image("a/base", http.url(PATH))
    assert ready(tenants.apply()["a/base"])
    asked = list(http.asked)
    tenants.image("a/again", http.url("/gone.raw"), checksum=SHA256)
    after = tenants.apply()
    assert ready(after["a/again"])
    assert http.asked == asked
    assert len(set(tenants.copies().values())) == 1
    assert tenants.saved_bytes == SIZE
    current = after["a/again"].status.current
    assert current is not None
    assert current.delivery is not None
    assert (current.delivery.served_by, current.delivery.fetched_bytes) == ("Image a/base", 0)
    assert fetched(after["a/base"]) == SIZE


def test_the_digest_of_a_compressed_source_identifies_too(tenants: Tenants, http: Served) -> None:
    packed = gzip.compress(IMAGE, mtime=0)
    http.files["/golden.gz"] = packed
    tenants.image("a/base", http.url("/golden.gz"))
    tenants.apply()
    asked = list(http.asked)
    tenants.image("a/packed", http.url("/gone.gz"), checksum="sha256:" + hashlib.sha256(packed).hexdigest())
    assert ready(tenants.apply()["a/packed"])
    assert http.asked == asked


def test_a_list_that_names_such_a_digest_costs_no_download(tenants: Tenants, http: Served) -> None:
    tenants.image("a/base", http.url(PATH))
    tenants.apply()
    http.files["/SHA256SUMS"] = f"{SHA256.removeprefix('sha256:')}  gone.raw\n".encode()
    tenants.image("a/listed", http.url("/gone.raw"), checksumFrom={"url": http.url("/SHA256SUMS")})
    after = tenants.apply()["a/listed"]
    assert ready(after)
    assert after.status.current is not None
    assert after.status.current.proof == "checksum list sha256"
    assert http.asked == [(PATH, 200), ("/SHA256SUMS", 200)]


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_md5_and_sha1_identify_nothing(tenants: Tenants, http: Served, algorithm: str) -> None:
    http.files["/mirror.raw"] = IMAGE
    promise = f"{algorithm}:{hashlib.new(algorithm, IMAGE).hexdigest()}"
    tenants.image("a/base", http.url(PATH), checksum=promise)
    tenants.apply()
    tenants.image("a/again", http.url("/mirror.raw"), checksum=promise)
    after = tenants.apply()
    assert ready(after["a/again"])
    assert http.whole("/mirror.raw") == 1
    assert fetched(after["a/again"]) == SIZE


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"format": "qcow2"}, Reason.FORMAT_REJECTED),
        ({"mediaType": "ISO", "format": "iso"}, Reason.FORMAT_REJECTED),
        ({"maxSize": "64Ki"}, Reason.TOO_LARGE),
    ],
)
def test_what_the_spec_demands_is_checked_on_a_hit(
    tenants: Tenants, http: Served, spec: dict[str, object], why: Reason
) -> None:
    tenants.image("a/base", http.url(PATH))
    tenants.image("a/again", http.url("/gone.raw"), checksum=SHA256, **spec)
    del tenants.documents["a/again"]
    tenants.apply()
    tenants.image("a/again", http.url("/gone.raw"), checksum=SHA256, **spec)
    after = tenants.apply()["a/again"]
    assert reason(after) is why
    assert len(tenants.copies()) == 1
    assert http.asked == [(PATH, 200)]


def test_another_storage_is_filled_from_the_first(tenants: Tenants, http: Served) -> None:
    first, second = tenants.storage("one"), tenants.storage("two")
    tenants.image("a/base", http.url(PATH), backupStorages=["one"])
    tenants.apply()
    tenants.image("a/again", http.url("/gone.raw"), checksum=SHA256, backupStorages=["one", "two"])
    assert ready(tenants.apply()["a/again"])
    assert len(tenants.copies(first)) == 2
    assert len(tenants.copies(second)) == 1
    assert http.asked == [(PATH, 200)]


# --- across namespaces: the image's own url proves it ---------------------------------------------------------------


def test_another_namespace_asks_its_url_and_fetches_one_byte(tenants: Tenants, https: Served) -> None:
    """In a later process: what proves it lies beside the bytes."""
    tenants.image("a/base", https.url(PATH))
    tenants.apply()
    tenants.image("b/mine", https.url(PATH), maxSize="2Mi")
    after = tenants.apply()
    assert ready(after["b/mine"])
    assert https.asked == [(PATH, 200), (PATH, 206)]
    assert https.sent_bytes == SIZE + 1
    assert len(set(tenants.copies().values())) == 1
    assert fetched(after["b/mine"]) == 0
    assert tenants.saved_bytes == SIZE
    current = after["b/mine"].status.current
    assert current is not None
    assert current.delivery is not None
    assert current.delivery.validator.etag == f'"{PATH}-1"'
    assert current.proof == "first use"


def test_bytes_that_lie_on_another_storage_only_are_copied_once_the_right_is_proven(
    tenants: Tenants, https: Served
) -> None:
    first, second = tenants.storage("one"), tenants.storage("two")
    tenants.image("a/base", https.url(PATH), backupStorages=["one"])
    tenants.apply()
    tenants.image("b/mine", https.url(PATH), backupStorages=["two"])
    after = tenants.apply()
    assert ready(after["b/mine"])
    assert https.asked == [(PATH, 200), (PATH, 206)]
    assert (len(tenants.copies(first)), len(tenants.copies(second))) == (1, 1)
    assert fetched(after["b/mine"]) == 0


def test_own_credentials_are_what_is_asked_with(tenants: Tenants, https: Served) -> None:
    tenants.secret("a", https.url(""), username="a", password="for-a-only")
    tenants.secret("b", https.url(""), token="for-b-only")
    known = {"Basic YTpmb3ItYS1vbmx5", "Bearer for-b-only"}
    https.guard = lambda _path, authorization: 200 if authorization in known else 403
    for namespace in ("a", "b", "c"):
        tenants.image(
            f"{namespace}/x", https.url(PATH), **({"secretRef": {"name": "upstream"}} if namespace != "c" else {})
        )
        after = tenants.apply()
    assert ready(after["a/x"])
    assert ready(after["b/x"])
    assert reason(after["c/x"]) is Reason.AUTHENTICATION_FAILED
    assert https.asked == [(PATH, 200), (PATH, 206), (PATH, 403)]
    assert len(tenants.copies()) == 2


@pytest.mark.parametrize(
    ("status", "why"),
    [(403, Reason.AUTHENTICATION_FAILED), (401, Reason.AUTHENTICATION_FAILED), (404, Reason.SOURCE_NOT_FOUND)],
)
def test_who_knows_the_digest_and_is_refused_by_the_url_gets_nothing(
    tenants: Tenants, https: Served, status: int, why: Reason
) -> None:
    tenants.image("a/base", https.url(PATH), checksum=SHA256)
    tenants.apply()
    https.guard = lambda _path, _authorization: status
    tenants.image("b/thief", https.url(PATH), checksum=SHA256)
    after = tenants.apply()["b/thief"]
    assert reason(after) is why
    assert len(tenants.copies()) == 1


def test_who_knows_digest_etag_and_length_and_serves_them_himself_gets_nothing(tenants: Tenants, https: Served) -> None:
    """The word of a server counts for its own url: other bytes under the same ETag are fetched, and refused."""
    https.files["/evil.raw"] = OTHER
    https.etags = {PATH: '"v1"', "/evil.raw": '"v1"'}
    tenants.image("a/base", https.url(PATH), checksum=SHA256)
    tenants.apply()
    tenants.image("b/thief", https.url("/evil.raw"), checksum=SHA256)
    after = tenants.apply()["b/thief"]
    assert reason(after) is Reason.CHECKSUM_MISMATCH
    assert len(tenants.copies()) == 1
    assert https.whole("/evil.raw") >= 1


def test_evil_bytes_that_one_namespace_fetched_reach_nobody_who_asks_another_url(
    tenants: Tenants, https: Served
) -> None:
    https.files["/evil.raw"] = OTHER
    https.etags = {PATH: '"v1"', "/evil.raw": '"v1"'}
    tenants.image("evil/x", https.url("/evil.raw"))
    tenants.apply()
    tenants.image("b/victim", https.url(PATH))
    after = tenants.apply()["b/victim"]
    assert ready(after)
    assert after.status.current is not None
    assert str(after.status.current.content.sha256) == SHA256
    assert https.whole(PATH) == 1


@pytest.mark.parametrize("etag", ['"/golden.raw-2"', 'W/"/golden.raw-1"', None], ids=["other", "weak", "none"])
def test_another_a_weak_or_no_etag_is_a_download(tenants: Tenants, https: Served, etag: str | None) -> None:
    """Where it is an upstream that changed, each image has what its url gave when it asked."""
    tenants.image("a/base", https.url(PATH))
    tenants.apply()
    https.files[PATH], https.etags[PATH] = OTHER, etag
    tenants.image("b/mine", https.url(PATH))
    after = tenants.apply()["b/mine"]
    assert ready(after)
    assert after.status.current is not None
    assert after.status.current.content.sha256.hex == hashlib.sha256(OTHER).hexdigest()
    assert fetched(after) == SIZE


def test_without_a_proof_its_own_download_is_one_and_nothing_is_written(tenants: Tenants, https: Served) -> None:
    """Another url with the same bytes, by another namespace: fetched into the digest alone."""
    https.files["/mirror.raw"] = IMAGE
    tenants.image("a/base", https.url(PATH))
    tenants.apply()
    staged: list[str] = []

    def look(path: str) -> None:
        staged.extend(name for name in os.listdir(tenants.store / "staging") if name.endswith(".partial"))

    https.on_body = look
    tenants.image("b/mine", https.url("/mirror.raw"), checksum=SHA256)
    after = tenants.apply()["b/mine"]
    assert ready(after)
    assert (https.whole("/mirror.raw"), fetched(after), staged) == (1, SIZE, [])
    assert len(set(tenants.copies().values())) == 1
    tenants.image("c/mine", https.url("/mirror.raw"))
    assert fetched(tenants.apply()["c/mine"]) == 0, "what it fetched is known of that url from then on"


def test_headers_of_ones_own_prove_nothing(tenants: Tenants, https: Served) -> None:
    tenants.image("a/base", https.url(PATH))
    tenants.apply()
    tenants.secret("b", https.url(""), **{"header__X-Original-URL": "/mine"})
    tenants.image("b/mine", https.url(PATH), secretRef={"name": "upstream"})
    assert fetched(tenants.apply()["b/mine"]) == SIZE


def test_an_authority_of_ones_own_proves_nothing_to_others(
    tenants: Tenants, https: Served, authority: Authority
) -> None:
    tenants.image("a/base", https.url(PATH))
    tenants.apply()
    tenants.secret("b", https.url(""), ca__crt=authority.ca_file.read_text())
    tenants.image("b/mine", https.url(PATH), secretRef={"name": "upstream"})
    assert fetched(tenants.apply()["b/mine"]) == SIZE
    tenants.secret("c", https.url(""), ca__crt=authority.ca_file.read_text())
    tenants.image("c/mine", https.url(PATH), secretRef={"name": "upstream"})
    assert fetched(tenants.apply()["c/mine"]) == 0


def test_over_plain_http_another_namespace_must_name_the_bytes(tenants: Tenants, http: Served) -> None:
    tenants.image("a/base", http.url(PATH))
    tenants.apply()
    tenants.image("a/same", http.url(PATH), maxSize="2Mi")
    tenants.image("b/unnamed", http.url(PATH))
    tenants.image("b/named", http.url(PATH), checksum=SHA256)
    del tenants.documents["b/named"]
    after = tenants.apply()
    assert (fetched(after["a/same"]), fetched(after["b/unnamed"])) == (0, SIZE)
    tenants.image("c/named", http.url(PATH), checksum=SHA256)
    assert fetched(tenants.apply()["c/named"]) == 0
    assert http.whole(PATH) == 2


def test_bytes_that_were_fetched_with_credentials_over_plain_http_are_not_shared_on_its_word(
    tenants: Tenants, http: Served
) -> None:
    tenants.secret("a", http.url(""), token="for-a-only")
    tenants.image("a/base", http.url(PATH), secretRef={"name": "upstream"})
    tenants.apply()
    tenants.image("b/named", http.url(PATH), checksum=SHA256)
    assert fetched(tenants.apply()["b/named"]) == SIZE


def test_a_uuid_of_another_namespaces_image_shows_and_gives_nothing(tenants: Tenants, https: Served) -> None:
    tenants.image("a/base", https.url(PATH))
    uuid = tenants.apply()["a/base"].status.uuid
    https.guard = lambda _path, _authorization: 403
    tenants.image("b/thief", https.url(PATH), uuid=uuid, checksum=SHA256)
    after = tenants.apply()["b/thief"]
    assert not ready(after)
    assert after.status.current is None
    assert list(tenants.copies()) == [uuid]


# --- a status is anybody's word ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", ["evil", "victim"])
def test_a_status_that_calls_bytes_by_a_digest_of_others_slips_them_to_nobody(
    tenants: Tenants, https: Served, namespace: str
) -> None:
    """Neither by the claim that is made of it, nor by the copy on another storage."""
    https.files |= {"/evil.raw": OTHER, "/mine.raw": IMAGE}
    tenants.storage("one")
    tenants.storage("two")
    tenants.image("evil/x", https.url("/evil.raw"), backupStorages=["one"])
    tenants.apply()
    tenants.forge("evil/x", SHA256)
    tenants.image("evil/x", https.url("/evil.raw"), backupStorages=["one", "two"], checksum=SHA256)
    tenants.apply()
    tenants.image(f"{namespace}/mine", https.url("/mine.raw"), backupStorages=["two"], checksum=SHA256)
    mine = tenants.apply()[f"{namespace}/mine"]
    assert ready(mine)
    assert mine.status.current is not None
    assert str(mine.status.current.content.sha256) == SHA256
    assert https.whole("/mine.raw") == 1
