"""The few calls of the API server's REST interface that are needed, over pooled connections. Thread-safe.

Small on purpose: a call costs a quarter of the CPU that it costs the official client, which also takes 40 MB to import.
"""

import base64
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3

from controller import errors, logs
from controller.kube.access import Access
from controller.kube.exec_plugin import Login
from controller.ports import Clock

CONNECT_S = 10.0
READ_S = 30.0
CONNECTIONS = 12
"""Kept open at most; as many as threads that write at once."""
MANAGER = "goldmaster"
"""Name under which `kubectl get --show-managed-fields` lists what we wrote."""
RENEW_BEFORE = timedelta(seconds=30)
ROTATES_EVERY = timedelta(seconds=60)
JSON = "application/json"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
"""JSON is YAML."""

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
"""As RBAC calls them."""
_RESOURCE = re.compile(r"/api(?:s/[^/]+)?/[^/]+/(?:namespaces/[^/]+/)?([^/]+)(?:/[^/]+(/[^/]+)?)?")

Document = dict[str, Any]


_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_USER = re.compile(r'User "([^"]{1,512})"')


class Gone(Exception):
    """The object, or the continuation of a list, is not there any more (404, 410)."""


class Rejected(errors.GoldmasterError):
    """The server finds the document itself wrong (400, 422). `causes`: JSON path, maybe empty, and message of each."""

    def __init__(self, message: str, causes: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message)
        self.causes = causes


class Forbidden(errors.ClusterDenied):
    """RBAC, or an admission plugin, refuses us (403). `user`: who we are to the server, where it says so."""

    def __init__(self, message: str, user: str = "") -> None:
        super().__init__(message)
        self.user = user


@dataclass(slots=True)
class _Session:
    """Credentials and the connections that show them."""

    login: Login
    pool: urllib3.HTTPConnectionPool
    headers: dict[str, str]
    expires_at: float | None
    users: int = 0
    """Requests that are being made with it."""
    retired: bool = False
    """Whether its connections are closed when the last of these has ended."""


class Client:
    """Each method raises ClusterUnavailable where the server cannot be asked, ClusterDenied where it refuses, Gone
    for 404 and 410.
    """

    def __init__(self, access: Access, clock: Clock, manager: str = MANAGER) -> None:
        self.access = access
        self._manager = manager
        self._prefix = urlsplit(access.server).path
        self._clock = clock
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._writes: Counter[tuple[str, str]] = Counter()

    def writes(self) -> Mapping[tuple[str, str], int]:
        """Return how many requests changed something, refused ones included, by verb and resource (`images/status`)."""
        with self._lock:
            return dict(self._writes)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        with self._lock:
            if self._session is not None:
                self._retire(self._session)

    def get(self, path: str, **query: str) -> Document:
        """Read an object or a page of a list."""
        return self._ask("GET", path, query)

    def metadata_list(self, path: str, **query: str) -> Document:
        """Read a page of a list in the same way."""
        return self._ask("GET", path, query, accept=_METADATA_LIST)

    def metadata(self, path: str) -> Document:
        """Read an object without its contents: the server sends apiVersion, kind and metadata only."""
        return self._ask("GET", path, {}, accept=_METADATA)

    def replace(self, path: str, document: Mapping[str, Any]) -> Document:
        """PUT. Raises Conflict where metadata.resourceVersion or uid in it is not what is there."""
        return self._ask("PUT", path, {"fieldManager": self._manager, "fieldValidation": "Strict"}, document)

    def merge(self, path: str, document: Mapping[str, Any]) -> Document:
        """Merge-patch. Raises Conflict where the metadata.resourceVersion in it is not what is there."""
        return self._ask("PATCH", path, {"fieldManager": self._manager}, document)

    def rehearse_apply(self, path: str, document: Mapping[str, Any]) -> Document:
        """Server-side apply that persists nothing: defaults, schema, rules and admission are asked. Raises Rejected."""
        query = {"fieldManager": self._manager, "force": "true", "fieldValidation": "Strict", "dryRun": "All"}
        return self._ask("PATCH", path, query, document, content=APPLY)

    def create(self, path: str, document: Mapping[str, Any]) -> Document:
        """POST. Raises Conflict where it exists."""
        return self._ask("POST", path, {"fieldManager": self._manager}, document)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        document: Mapping[str, Any] | None = None,
        accept: str = JSON,
        content: str = "",
    ) -> Document:
        """Send a request; after a 401 once more with fresh credentials."""
        if document is not None:
            with self._lock:
                self._writes[VERBS[method], _resource(path)] += 1
        with self._session_for_one() as session:
            response = self._send(session, method, path, query, document, accept, content)
        if response.status == 401:
            logs.logger().info("kube.login", message="the API server does not know us (any more): logging in again")
            self._drop(session)
            with self._session_for_one() as session:
                response = self._send(session, method, path, query, document, accept, content)
        return _answer(response, method, path)

    def _send(
        self,
        session: _Session,
        method: str,
        path: str,
        query: Mapping[str, str],
        document: Mapping[str, Any] | None,
        accept: str,
        content: str,
    ) -> urllib3.BaseHTTPResponse:
        headers = {**session.headers, "Accept": accept}
        if document is not None:
            headers["Content-Type"] = content or (MERGE if method == "PATCH" else JSON)
        try:
            return session.pool.request(
                method,
                f"{self._prefix}{path}{'?' + urlencode(query) if query else ''}",
                headers=headers,
                body=None if document is None else json.dumps(document, separators=(",", ":")).encode(),
            )
        except urllib3.exceptions.HTTPError as exc:
            raise errors.ClusterUnavailable(
                f"the API server {self.access.server} does not answer: {logs.clip(str(exc))}"
            ) from exc

    @contextmanager
    def _session_for_one(self) -> Iterator[_Session]:
        """Yield a session that is good now, for one request: until that has ended nobody closes its connections."""
        with self._lock:
            session = self._login()
            session.users += 1
        try:
            yield session
        finally:
            with self._lock:
                session.users -= 1
                _close_if_done(session)

    def _login(self) -> _Session:
        """Return the session, or a new one where it is too old. With the lock."""
        session = self._session
        if session is None:
            session = self._session = self._open(self.access.login())
        elif session.expires_at is not None and self._clock.monotonic() >= session.expires_at:
            login = self.access.login()
            if login == session.login:  # a token file is read each minute, and changes each hour
                session.expires_at = self._expiry(login)
            else:
                self._retire(session)
                session = self._session = self._open(login)
        return session

    def _drop(self, session: _Session) -> None:
        with self._lock:
            if self._session is session:
                self._retire(session)

    def _retire(self, session: _Session) -> None:
        """Let nobody new have it. With the lock."""
        self._session = None
        session.retired = True
        _close_if_done(session)

    def _open(self, login: Login) -> _Session:
        headers = {"User-Agent": MANAGER}
        if login.token:
            headers["Authorization"] = f"Bearer {login.token}"
        elif login.basic:
            headers["Authorization"] = "Basic " + base64.b64encode(login.basic.encode()).decode()
        way = self.access.route
        options: dict[str, Any] = {
            "retries": False,
            "timeout": urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            "maxsize": CONNECTIONS,
        }
        if self.access.server.startswith("https:"):
            options |= {"ssl_context": self.access.tls(login), "server_hostname": way.server_name or None}
        if way.proxy:
            proxy = urllib3.ProxyManager(way.proxy, proxy_headers=way.proxy_headers, **options)
            pool: urllib3.HTTPConnectionPool = proxy.connection_from_url(self.access.server)
        else:
            pool = urllib3.connection_from_url(self.access.server, **options)
        return _Session(login, pool, headers, self._expiry(login))

    def _expiry(self, login: Login) -> float | None:
        if login.expires is not None:
            left = login.expires - self._clock.now() - RENEW_BEFORE
            return self._clock.monotonic() + max(left.total_seconds(), 1.0)
        return self._clock.monotonic() + ROTATES_EVERY.total_seconds() if login.rotates else None


def _close_if_done(session: _Session) -> None:
    if session.retired and not session.users:
        session.pool.close()


def _resource(path: str) -> str:
    """Return what a path names, without names: `images`, `images/status`."""
    found = _RESOURCE.fullmatch(path)
    return "other" if found is None else found[1] + (found[2] or "")


def _answer(response: urllib3.BaseHTTPResponse, method: str, path: str) -> Document:
    """Return the object, or raise what the status means to us."""
    if response.status < 300:
        try:
            body: Document = json.loads(response.data)
        except ValueError:  # not as the cause: it would carry the answer along, which may be a Secret
            raise errors.ClusterUnavailable(f"{method} {path}: the answer is not JSON") from None
        return body
    said = _message(response)
    message = f"{method} {path}: {response.status} {logs.clip(said)}"
    if response.status in {404, 410}:
        raise Gone(message)
    if response.status == 409:
        raise errors.Conflict(message)
    if response.status in {400, 413, 415, 422}:
        raise Rejected(message, _causes(response, said))  # of a request of our own making: a bug
    if response.status == 401:
        raise errors.ClusterDenied(message)
    if response.status == 403:
        user = _USER.search(said)
        raise Forbidden(message, logs.clip(user[1]) if user else "")
    retry_after = response.headers.get("Retry-After", "")
    wait = timedelta(seconds=int(retry_after)) if retry_after.isdigit() else None
    raise errors.ClusterUnavailable(message, retry_after=wait)


def _causes(response: urllib3.BaseHTTPResponse, said: str) -> tuple[tuple[str, str], ...]:
    """Return what a Status names, each clipped; the message alone where it names nothing."""
    try:
        named = [
            (str(cause.get("field", "")), str(cause["message"])) for cause in _status(response)["details"]["causes"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        named = []
    # `<nil>`: rules were not asked, as the schema is not satisfied
    known = tuple((logs.clip(field), logs.clip(message)) for field, message in named if field != "<nil>")
    return known or (("", logs.clip(said)),)


def _status(response: urllib3.BaseHTTPResponse) -> Document:
    found: Document = json.loads(response.data)
    return found


def _message(response: urllib3.BaseHTTPResponse) -> str:
    try:
        return str(_status(response)["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason or ""
