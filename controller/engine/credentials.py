"""The Secret of a transfer, read when it starts and dropped when it ends."""

from controller import errors
from controller.model.secret import KEYS_TYPE, Credentials, Secret
from controller.model.transfer import TransferRequest
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
