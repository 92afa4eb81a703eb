"""The Secret of a transfer, read when it starts and dropped when it ends."""

from controller import errors
from controller.model.origin import Validator
from controller.model.secret import KEYS_TYPE, MIN_HIDDEN, Credentials, Secret
from controller.model.transfer import TransferRequest
from controller.model.url import SourceUrl
from controller.ports import Secrets


def of(request: TransferRequest, secrets: Secrets | None) -> Credentials | None:
    """Return what the request's source may be told; None where it asks for no Secret.

    Raises:
        DependencyNotReady: there is no such Secret, or it cannot be used as it is.
        PolicyDenied: it was not made for sources, or not for this origin.

    """
    if request.secret_ref is None or request.origin is not None:
        return None
    secret = _read(request.namespace, request.secret_ref, secrets)
    credentials = Credentials.of(secret)
    if not credentials.allows(request.url):
        known = " ".join(sorted(credentials.origins))
        raise errors.PolicyDenied(f"{secret.shown} may not go to {request.url.origin}: its origins are {known}")
    return credentials


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
