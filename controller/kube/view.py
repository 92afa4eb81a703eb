"""A cluster's objects as the verbs of a person see them, with the rights of that person. Imports no watch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from controller import errors
from controller.kube import objects
from controller.kube.client import Client, Forbidden, Gone, Rejected
from controller.kube.objects import AnyResource
from controller.model.fields import format_time
from controller.model.ownership import applied_fields, keeper
from controller.model.resource import GROUP, REQUESTED_AT, BackupStorage, Image, Key, Kind
from controller.model.stored import Stored, Verb, not_found
from controller.ports import Clock, Resources

PAGE = 500
TRIES = 3
"""A list is begun anew so often if it takes longer than the server keeps its old versions (5 minutes)."""
_LOOK = "the operator looks at it"

Document = dict[str, Any]


class ClusterView:
    """Reads objects anew with each call. Writes what `ask` says and nothing else: one annotation, or spec.suspend.

    Each method raises ClusterDenied, naming the right that is missing, and ClusterUnavailable, also where the cluster
    does not know our kinds. `warn` is told what a person should know of a result that is not wrong.
    """

    def __init__(self, client: Client, clock: Clock, warn: Callable[[str], None]) -> None:
        self._client = client
        self._clock = clock
        self.warn = warn
        self.namespace = client.access.namespace

    def stored(self, kind: Kind, namespace: str | None = None, name: str | None = None) -> list[Stored]:
        """Return objects as documents, by namespace and name; None means all."""
        return [_stored(kind, document) for document in self._documents(kind, namespace, name)]

    def images(self, namespace: str | None = None, name: str | None = None) -> list[Image]:
        """Return Images, by namespace and name; None means all. Warns of those that this version cannot read."""
        return [cast(Image, resource) for resource in self._readable(Kind.IMAGE, namespace, name)]

    def storages(self) -> list[BackupStorage]:
        """Return all BackupStorages, by name. Warns of those that this version cannot read."""
        return [cast(BackupStorage, resource) for resource in self._readable(Kind.BACKUP_STORAGE, None, None)]

    def storages_only(self) -> Resources:
        """Return the BackupStorages as an engine takes them, as they are now; of Images it knows none."""
        from controller.kube.cache import Cache
        from controller.kube.status_store import KubeResources

        cache = Cache()
        for document in self._documents(Kind.BACKUP_STORAGE, None, None):
            cache.accept(objects.parse(Kind.BACKUP_STORAGE, document))
        return KubeResources(self._client, cache)

    def elsewhere(self, kind: Kind) -> int:
        """Return 0: a count over all namespaces costs a right that who may read one need not have."""
        return 0

    def derived_uuid(self, key: Key) -> None:
        """Return None: an object's uuid is made of its uid, which nobody knows beforehand."""

    def ask(self, keys: Sequence[Key], verb: Verb) -> list[str]:
        """Ask the operator, by the objects themselves; return what was done, a line each.

        Nothing is written unless all of them exist.

        Raises:
            NotFound: one does not.

        """
        documents = [self._get(key) for key in keys]
        try:
            return [self._ask(key, document, verb) for key, document in zip(keys, documents, strict=True)]
        except Gone as exc:
            raise errors.NotFound(f"an object went meanwhile: {exc}") from exc

    def key_of(self, document: Document, namespace: str | None = None) -> Key | None:
        """Return which object a manifest means here, in `namespace` where it names none; None: not one of ours."""
        kind, metadata = document.get("kind"), document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(name, str) or not isinstance(metadata, dict) or kind not in tuple(Kind):
            return None
        if kind != Kind.IMAGE.value:
            return Key(Kind(kind), "", name)
        return Key(Kind.IMAGE, str(metadata.get("namespace") or namespace or self.namespace), name)

    def document(self, key: Key) -> Document | None:
        """Return an object as the server has it, managedFields included; None where there is none."""
        try:
            return self._get(key)
        except errors.NotFound:
            return None

    def labels(self, namespace: str) -> dict[str, str] | None:
        """Return the labels of a namespace; None where we may not see them."""
        try:
            return dict(self._client.metadata(f"/api/v1/namespaces/{namespace}")["metadata"].get("labels") or {})
        except (Gone, errors.ClusterDenied):
            return None

    def judge(self, key: Key, document: Document) -> list[tuple[str, str]]:
        """Return what the server says against applying a manifest: JSON path, message. Nothing is written.

        Schema, defaults, rules and admission policies are asked, by a server-side apply with dryRun.
        """
        scope = {"namespace": key.namespace} if key.namespace else {}
        body = document | {"metadata": document["metadata"] | scope}
        try:
            self._client.rehearse_apply(objects.path(key), body)
        except Rejected as exc:
            return list(exc.causes)
        except errors.Conflict as exc:
            return [("", _said(exc))]
        except Forbidden as exc:
            for verb in ("patch", "create"):
                if not self._may(verb, key):
                    raise
            return [("", _said(exc))]  # the rights are there: an admission plugin or policy refuses it
        except Gone as exc:
            self._check_kinds(key.kind)
            return [("metadata.namespace", _said(exc))]
        return []

    def _may(self, verb: str, key: Key) -> bool:
        """Ask the server whether we have a right; whoever is logged in may ask that."""
        about = {"verb": verb, "group": GROUP, "resource": key.kind.plural, "namespace": key.namespace}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self._client.create(path, review | {"spec": {"resourceAttributes": about}})["status"]["allowed"])

    def _ask(self, key: Key, document: Document, verb: Verb) -> str:
        if verb is Verb.RECONCILE:
            token = format_time(self._clock.now())
            self._client.merge(objects.path(key), {"metadata": {"annotations": {REQUESTED_AT: token}}})
            return f"{key.shown}: {REQUESTED_AT} is {token} now; {_LOOK}"
        suspend = verb is Verb.SUSPEND
        if bool(document.get("spec", {}).get("suspend")) is suspend:
            return f"{key.shown}: is {'' if suspend else 'not '}suspended already"
        # null and not false: nothing of it is left in the object when it goes on
        self._client.merge(objects.path(key), {"spec": {"suspend": True if suspend else None}})
        self._warn_of_keeper(key.shown, document)
        done = "what runs for it stops, resumably" if suspend else _LOOK
        return f"{key.shown}: spec.suspend is {str(suspend).lower()} now; {done}"

    def _warn_of_keeper(self, shown: str, document: Document) -> None:
        by = keeper(document["metadata"])
        if by is None:
            return
        if "suspend" in applied_fields(document["metadata"]):
            self.warn(f"{shown}: {by} manages it and sets spec.suspend: its next sync undoes this; change it in Git")
        else:
            self.warn(f"{shown}: {by} manages it: its next sync may undo this; what Git says of spec.suspend lasts")

    def _readable(self, kind: Kind, namespace: str | None, name: str | None) -> Iterator[AnyResource]:
        for document in self._documents(kind, namespace, name):
            entry = objects.parse(kind, document)
            if entry.unreadable:
                self.warn(f"{entry.key} is left out, as this version cannot read it: {entry.unreadable}")
            else:
                yield entry.resource

    def _documents(self, kind: Kind, namespace: str | None, name: str | None) -> list[Document]:
        if name is not None and (namespace is not None or kind is not Kind.IMAGE):
            try:
                return [self._get(Key(kind, namespace or "", name))]
            except errors.NotFound:
                return []
        where = objects.collection(kind, namespace or "")
        query = {} if name is None else {"fieldSelector": f"metadata.name={name}"}
        return sorted(self._list(kind, where, query), key=lambda found: objects.key_of(kind, found))

    def _get(self, key: Key) -> Document:
        try:
            return self._client.get(objects.path(key))
        except Gone:
            self._check_kinds(key.kind)
            raise not_found(key.kind, key.name, key.namespace) from None

    def _list(self, kind: Kind, path: str, query: dict[str, str]) -> list[Document]:
        for _ in range(TRIES):
            try:
                return list(self._pages(path, query))
            except Gone:
                self._check_kinds(kind)
        raise errors.ClusterUnavailable(f"a list of {kind.plural} expires before it is read")

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[Document]:
        token = ""
        while True:
            page = self._client.get(path, limit=str(PAGE), **query, **({"continue": token} if token else {}))
            # the items of a list come without these two
            yield from ({"apiVersion": page["apiVersion"], **item} for item in page["items"])
            token = page["metadata"].get("continue")
            if not token:
                return

    def _check_kinds(self, kind: Kind) -> None:
        """Tell an object that is not there from a kind that the cluster does not know; anybody logged in may ask."""
        try:
            known: Iterable[Document] = self._client.get(objects.API)["resources"]
        except Gone:
            known = ()
        if not any(resource["name"] == kind.plural for resource in known):
            raise errors.ClusterUnavailable(
                f"{self._client.access.server} does not know {kind.plural}.{GROUP}: "
                "install the CRDs, kubectl apply --server-side -k crds/"
            )


def _said(exc: Exception) -> str:
    """Return the server's words of an error of the client, without the request."""
    return str(exc).partition(": ")[2]


def _stored(kind: Kind, document: Document) -> Stored:
    metadata = {name: value for name, value in document["metadata"].items() if name != "managedFields"}
    shown = {"apiVersion": document["apiVersion"], "kind": kind.value, "metadata": metadata}
    shown |= {"spec": document.get("spec") or {}, "status": document.get("status") or {}}
    token = (metadata.get("annotations") or {}).get(REQUESTED_AT)
    return Stored(objects.key_of(kind, document), shown, requested_at=token, keeper=keeper(document["metadata"]))
