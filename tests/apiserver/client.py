"""Speaks HTTPS to the API server by a pooled connection: milliseconds a call, where kubectl takes tens of them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.apiserver import credentials

TIMEOUT_S = 60.0
_UNKNOWN_FIELD = re.compile(r'unknown field "([^"]+)"')
_MISTYPED_METADATA = re.compile(r"Go struct field ObjectMeta\.(\S+) of type")


class Unreachable(Exception):
    """The server did not answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: the HTTP status, and an object or, for an error, a v1 Status."""

    status: int
    body: dict[str, Any]
    size: int = 0
    """Bytes of the body."""

    @property
    def ok(self) -> bool:
        """Whether the request was carried out."""
        return self.status < 300

    @property
    def message(self) -> str:
        """What went wrong, for people."""
        return str(self.body.get("message", ""))

    @property
    def fields(self) -> set[str]:
        """Paths of the fields that are refused, such as spec.url, whether in decoding (400) or in validation (422)."""
        causes = (self.body.get("details") or {}).get("causes") or []
        # "<nil>" says that rules were not asked because the schema is not satisfied.
        named = {str(cause["field"]) for cause in causes if cause.get("field", "<nil>") != "<nil>"}
        mistyped = {f"metadata.{name}" for name in _MISTYPED_METADATA.findall(self.message)}
        return named | mistyped | set(_UNKNOWN_FIELD.findall(self.message))


class Client:
    """One user's view of the server, by client certificate or by bearer token. Each method may raise Unreachable."""

    def __init__(
        self,
        server: str,
        authority: Path,
        *,
        pair: credentials.Pair | None = None,
        token: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._pool = urllib3.PoolManager(
            retries=False,
            timeout=timeout_s,
            maxsize=4,
            ca_certs=str(authority),
            cert_file=str(pair.certificate) if pair else None,
            key_file=str(pair.key) if pair else None,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

    def get(self, path: str) -> Answer:
        """Read an object, a list or a health page (whose text is then the message)."""
        return self._ask("GET", path)

    def create(self, path: str, document: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """POST to a collection, with strict field validation, as `kubectl create` has it."""
        return self._ask("POST", path, document, dry_run=dry_run)

    def replace(self, path: str, document: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """PUT an object, with strict field validation, as `kubectl replace` has it."""
        return self._ask("PUT", path, document, dry_run=dry_run)

    def merge(self, path: str, document: Mapping[str, Any]) -> Answer:
        """Merge-patch an object, as `kubectl patch --type=merge` does."""
        return self._ask("PATCH", path, document)

    def delete(self, path: str) -> Answer:
        """Delete an object, in the foreground."""
        return self._ask("DELETE", path)

    def _ask(
        self, method: str, path: str, document: Mapping[str, Any] | None = None, *, dry_run: bool = False
    ) -> Answer:
        fields: dict[str, str] = {"fieldValidation": "Strict"} if document is not None else {}
        if dry_run:
            fields["dryRun"] = "All"
        query = "?" + "&".join(f"{name}={value}" for name, value in fields.items()) if fields else ""
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        try:
            response = self._pool.request(
                method,
                self._server + path + query,
                body=None if document is None else json.dumps(document).encode(),
                headers={"Content-Type": content_type, "Accept": "application/json", **self._headers},
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error)) from error
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        body = response.json() if is_json else {"message": response.data.decode()}
        return Answer(response.status, body, len(response.data))
