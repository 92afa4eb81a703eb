"""The Secret of a transfer, read when it starts and dropped when it ends."""

from controller import errors
from controller.model.secret import Credentials
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
    if secrets is None:
        name = f"{request.namespace}/{request.secret_ref}"
        raise errors.DependencyNotReady(f"Secret {name} cannot be read: nothing says where Secrets are (--secrets DIR)")
    secret = secrets.read(request.namespace, request.secret_ref)
    credentials = Credentials.of(secret)
    if not credentials.allows(request.url):
        known = " ".join(sorted(credentials.origins))
        raise errors.PolicyDenied(f"{secret.shown} may not go to {request.url.origin}: its origins are {known}")
    return credentials
