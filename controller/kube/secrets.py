"""Secrets of a cluster: each read by its own name, at the moment a transfer needs it, and kept nowhere.

There is no list and no watch of Secrets, as both would need the right to read all of them.
"""

import base64
import binascii
from typing import Any
from urllib.parse import quote

from controller import errors
from controller.kube.client import Client, Forbidden, Gone
from controller.model.secret import KEYS_TYPE, SOURCE_TYPE, Secret

READER = "goldmaster-secret-reader"
"""The ClusterRole of manifests/controller/rbac.yaml that a namespace binds to let its Secrets be read."""


class KubeSecrets:
    """Implements `ports.Secrets` on an API server. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def read(self, namespace: str, name: str) -> Secret:
        """Return the Secret as it is now. See `ports.Secrets`.

        Raises:
            PolicyDenied: it is of a type that was not made for us; its values are not even decoded.

        """
        shown = f"Secret {namespace}/{name}"
        try:
            found = self._client.get(_path(namespace, name))
        except Gone:
            raise errors.DependencyNotReady(f"{shown} does not exist") from None
        except Forbidden as exc:
            raise errors.DependencyNotReady(f"{shown} may not be read; {_remedy(namespace, exc.user)}") from None
        except errors.ClusterUnavailable as exc:
            raise errors.DependencyNotReady(f"{shown} cannot be read now: {exc}", retry_after=exc.retry_after) from None
        kind = str(found.get("type") or "Opaque")
        if kind not in {SOURCE_TYPE, KEYS_TYPE}:
            raise errors.PolicyDenied(f"{shown} is of type {kind[:80]}: only {SOURCE_TYPE} and {KEYS_TYPE} are for us")
        return Secret(namespace, name, kind, _values(shown, found))

    def version(self, namespace: str, name: str) -> str:
        """Return its resourceVersion; only metadata leaves the server for that. See `ports.Secrets`."""
        try:
            return str(self._client.metadata(_path(namespace, name))["metadata"]["resourceVersion"])
        except (Gone, errors.ClusterUnavailable):
            return ""


def _path(namespace: str, name: str) -> str:
    # quoted, although the CRD lets no slash into a name: it may be of another version
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/secrets/{quote(name, safe='')}"


def _values(shown: str, found: dict[str, Any]) -> dict[str, bytes]:
    try:
        return {str(key): base64.b64decode(value, validate=True) for key, value in (found.get("data") or {}).items()}
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise errors.DependencyNotReady(f"{shown} is not as the API server promises: a value is not base64") from None


def _remedy(namespace: str, user: str) -> str:
    """Return the command that gives us the right, for whoever administers the namespace."""
    account = user.removeprefix("system:serviceaccount:")
    subject = f"--serviceaccount={account}" if account != user else f"--user={user or 'GOLDMASTER'}"
    command = f"kubectl create rolebinding {READER} --namespace={namespace} --clusterrole={READER} {subject}"
    return f"an administrator of the namespace allows it with: {command}"
