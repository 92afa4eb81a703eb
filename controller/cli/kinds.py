"""How people write kinds, as kubectl takes them."""

import click

from controller import errors
from controller.model.resource import Key, Kind

_NAMES = {
    Kind.IMAGE: ("images", "image", "gmi"),
    Kind.BACKUP_STORAGE: ("backupstorages", "backupstorage", "gmbs"),
}


def kind_of(name: str) -> Kind:
    """Return the kind that a person names: `images`, `image` or `gmi`. Raises click.BadParameter."""
    for kind, names in _NAMES.items():
        if name.lower() in names:
            return kind
    known = ", ".join(names[0] for names in _NAMES.values())
    raise click.BadParameter(f"there is no kind {name!r}; known: {known}")


def key_of(name: str, namespace: str) -> Key:
    """Return the key of NAME (an Image) or KIND/NAME."""
    kind_name, slash, rest = name.partition("/")
    kind = kind_of(kind_name) if slash else Kind.IMAGE
    return Key(kind, namespace if kind is Kind.IMAGE else "", rest if slash else name)


def shown(key: Key) -> str:
    """Write a key as people do: `default/debian`, `backupstorage/main`."""
    return f"{key.namespace}/{key.name}" if key.namespace else f"{_NAMES[key.kind][1]}/{key.name}"


def not_found(kind: Kind, name: str, namespace: str | None) -> errors.NotFound:
    """Return the error of a name that is not there."""
    place = f" in namespace {namespace}" if namespace and kind is Kind.IMAGE else ""
    return errors.NotFound(f"{kind.plural} {name!r} not found{place}")
