"""The Secret of a transfer, read when it starts and dropped when it ends."""

from dataclasses import replace

from controller import errors
from controller.model.delivery import Validator
from controller.model.secret import KEYS_TYPE, MIN_HIDDEN, Credentials, Secret
from controller.model.transfer import Broken, Placed, TransferRequest
from controller.model.url import SourceUrl
from controller.ports import Secrets


def of(request: TransferRequest, secrets: Secrets | None) -> Credentials | None:
    """Return what the request's sources may be told; None where it asks for no Secret.

    Raises:
        DependencyNotReady: there is no such Secret, or it cannot be used as it is.
        PolicyDenied: it was not made for sources.

    """
    if request.secret_ref is None or request.copy_from is not None:
        return None
    return Credentials.of(_read(request.namespace, request.secret_ref, secrets))


def for_url(told: Credentials | None, request: TransferRequest, url: SourceUrl) -> Credentials | None:
    """Return what this url is told. A mirror of an origin that the Secret does not list is asked without.

    Raises:
        PolicyDenied: the Secret was not made for the origin of the request's own url.

    """
    if told is None or told.allows(url):
        return told
    if url != request.url:
        return None
    known = " ".join(sorted(told.origins))
    shown = f"Secret {request.namespace}/{request.secret_ref}"
    raise errors.PolicyDenied(f"{shown} may not go to {url.origin}: its origins are {known}")


def scrubbed(outcome: Placed | Broken, told: Credentials | None, url: SourceUrl) -> Placed | Broken:
    """Return it without a value of the Secret, or the query of the url, which a server may have repeated."""
    if isinstance(outcome, Broken):
        return scrubbed_failure(outcome, told)
    served_by = outcome.served_by if told is None else told.scrub(outcome.served_by)
    return replace(outcome, served_by=served_by, validator=without_secrets(outcome.validator, told, url))


def scrubbed_failure(outcome: Broken, told: Credentials | None) -> Broken:
    """Return it without a value of the Secret."""
    message = outcome.failure.message if told is None else told.scrub(outcome.failure.message)
    return replace(outcome, failure=replace(outcome.failure, message=message))


def without_secrets(validator: Validator, told: Credentials | None, url: SourceUrl) -> Validator:
    """Return a validator fit for a status: one in which a server repeats a value of the Secret or the query is dropped.

    It is not cut: two that differ in what was cut out would be equal.
    """
    values = (*(told.hidden if told is not None else ()), *([url.query] if len(url.query) >= MIN_HIDDEN else []))

    def clean(text: str | None) -> str | None:
        return None if text is None or any(value in text for value in values) else text

    return Validator(clean(validator.etag), clean(validator.last_modified))


def keys(namespace: str, name: str, secrets: Secrets | None) -> tuple[bytes, ...]:
    """Return the OpenPGP certificates that a Secret holds, each value by itself.

    Raises:
        DependencyNotReady: there is no such Secret, or nothing in it. PolicyDenied: it was not made for this.

    """
    secret = _read(namespace, name, secrets)
    if secret.type != KEYS_TYPE:
        raise errors.PolicyDenied(f"{secret.shown} is not of type {KEYS_TYPE}: it was not made to hold keys")
    if not secret.data:
        raise errors.DependencyNotReady(f"{secret.shown} holds no key")
    return tuple(value for _, value in sorted(secret.data.items()))


def _read(namespace: str, name: str, secrets: Secrets | None) -> Secret:
    if secrets is None:
        raise errors.DependencyNotReady(
            f"Secret {namespace}/{name} cannot be read: nothing says where Secrets are (--secrets DIR)"
        )
    return secrets.read(namespace, name)
