"""Secrets in memory, and the shape of one that serves sources."""

from controller import errors
from controller.model.secret import SOURCE_TYPE, Credentials, Secret


def secret(origins: str = "https://images.example", *, kind: str = SOURCE_TYPE, **values: str) -> Secret:
    """Return a Secret default/mirror. Keys are written with `_` for `.`, and `__` for `-`."""
    data = {key.replace("__", "-").replace("_", "."): value.encode() for key, value in values.items()}
    return Secret("default", "mirror", kind, {"origins": origins.encode(), **data} if origins else data)


def credentials(origins: str = "https://images.example", **values: str) -> Credentials:
    """Return what such a Secret says."""
    return Credentials.of(secret(origins, **values))


class FakeSecrets:
    """Implements `ports.Secrets`."""

    def __init__(self, *known: Secret) -> None:
        self.known = {(one.namespace, one.name): one for one in known}
        self.reads: list[tuple[str, str]] = []

    def read(self, namespace: str, name: str) -> Secret:
        self.reads.append((namespace, name))
        try:
            return self.known[namespace, name]
        except KeyError:
            raise errors.DependencyNotReady(f"Secret {namespace}/{name} is not there") from None

    def version(self, namespace: str, name: str) -> str:
        found = self.known.get((namespace, name))
        return "" if found is None else str(hash(tuple(sorted(found.data.items()))))
