"""Who may share stored bytes without fetching them: what an answer of a url proves. Pure.

Knowing a digest is no right to the bytes. Within a namespace the bytes that one image has are the others' too. Anybody
else shows the right by an answer: asked with the image's own credentials, the image's own url names the version (strong
ETag and length) that it named when these very bytes were fetched from it. Why that is a proof, and where it is none:

- A server answers any ETag and length that its owner likes, so the word of a server counts for its own url only.
- A Secret's `ca.crt` says who may speak for the url: it is part of what the url is known by.
- A Secret's `header.*` can make a server take a url for another (X-Original-URL, methods, cookies): such answers prove
  nothing and are not remembered.
- Over plain http anybody on the way answers. Between namespaces that is a proof only where the image's own sha256 or
  sha512 names the bytes, so that nobody slips in others, and where they were fetched without credentials, so that
  whoever can forge the answer could have fetched them too.
"""

from dataclasses import replace

from controller.model.digest import Digest
from controller.model.image import Content
from controller.model.secret import Credentials
from controller.model.transfer import Provenance, TransferRequest, Validator
from controller.model.url import SourceUrl
from controller.plan.source import fingerprint

WEB = frozenset({"http", "https"})


def witness(url: SourceUrl, told: Credentials | None) -> str | None:
    """Name the url and whoever may speak for it; None where an answer would prove nothing."""
    if url.scheme not in WEB:
        return None
    if told is not None and any(name.lower() != "authorization" for name, _ in told.headers):
        return None
    return fingerprint(url.text, "" if told is None or told.ca_pem is None else told.ca_pem)


def testimony(
    request: TransferRequest,
    told: Credentials | None,
    validator: Validator,
    length: int | None,
    source_digests: tuple[Digest, ...],
) -> Provenance | None:
    """Return what a complete, verified download of the request's url says about it; None where that is nothing."""
    known_by, etag = witness(request.url, told), validator.etag
    if known_by is None or etag is None or not validator.strong or not length:
        return None
    if told is not None and told.scrub(etag) != etag:
        return None  # the server repeats a secret: it is not written down
    return Provenance(known_by, etag, length, source_digests, request.namespace, anonymous=told is None)


def proves(
    known: Provenance,
    request: TransferRequest,
    told: Credentials | None,
    expected: Digest | None,
    validator: Validator,
    length: int | None,
) -> bool:
    """Whether this answer to the request gives it the bytes that `known` is about. `expected`: what they must be."""
    if not validator.strong or (validator.etag, length) != (known.etag, known.total_bytes):
        return False
    return entitled(known, request, told, expected)


def entitled(known: Provenance, request: TransferRequest, told: Credentials | None, expected: Digest | None) -> bool:
    """Whether the right answer would give the request the bytes that `known` is about."""
    if witness(request.url, told) != known.source:
        return False
    if expected is not None and not any(expected.matches(digest) for digest in known.source_digests):
        return False
    if request.url.scheme == "https" or known.namespace == request.namespace:
        return True
    return expected is not None and expected.algorithm.identifies and known.anonymous


def as_fetched(content: Content, known: Provenance) -> Content:
    """Return a stored content as the download of `known` brought it: another may have been compressed."""
    return replace(content, source_digests=known.source_digests)
