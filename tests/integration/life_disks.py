"""What lies on the disks of the life model, read file by file as a person would, and what is done to it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.life_model import SIZES, Claim


@dataclass(frozen=True)
class Store:
    """One storage at one moment."""

    claims: dict[str, tuple[Claim, ...]] = field(default_factory=dict)
    """By the uuid of the image, intact or not."""
    owners: dict[str, set[str]] = field(default_factory=dict)
    trash: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the uuid of the image."""
    objects: frozenset[str] = frozenset()
    """Names of all objects."""
    sound: frozenset[str] = frozenset()
    """Those in full, with a record."""
    wrong: frozenset[str] = frozenset()
    """Those that have other bytes than their name says."""
    staged: frozenset[str] = frozenset()

    @property
    def left(self) -> frozenset[str]:
        """Objects that nobody has a claim on, and what lies in the staging room."""
        claimed = {claim.sha256 for claims in self.claims.values() for claim in claims}
        return (self.objects - claimed) | self.staged


def read(place: Path) -> Store:
    """Read a storage directory."""
    objects = {path.name: path for path in files(place)}
    hashed = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in objects.items()}
    sound = {name for name, path in objects.items() if path.stat().st_size == SIZES[name] and _record(path)}
    claims: dict[str, list[Claim]] = {}
    owners: dict[str, set[str]] = {}
    for path in sorted((place / "images").glob("*/*.json")):
        record = json.loads(path.read_text())
        claims.setdefault(path.parent.name, []).append(_claim(path, record, objects))
        owners.setdefault(path.parent.name, set()).add(record["owner"])
    return Store(
        {uuid: tuple(found) for uuid, found in claims.items()},
        owners,
        {path.stem: json.loads(path.read_text()) for path in (place / "trash").glob("*.json")},
        frozenset(objects),
        frozenset(sound),
        frozenset(name for name, found in hashed.items() if found != name),
        frozenset(path.name for path in (place / "staging").glob("*")),
    )


def _record(path: Path) -> bool:
    return path.with_name(f"{path.name}.json").exists()


def _claim(path: Path, record: dict[str, Any], objects: dict[str, Path]) -> Claim:
    sha256 = record["content"]["sha256"].removeprefix("sha256:")
    link, there = path.with_suffix(""), objects.get(sha256)
    intact = there is not None and link.exists() and link.samefile(there) and there.stat().st_size == SIZES[sha256]
    return Claim(sha256, "/" + record["url"].rpartition("/")[2], record["importedAt"], intact)


def files(place: Path) -> Iterator[Path]:
    """Yield the objects of a storage, by name."""
    yield from sorted(path for path in (place / "objects").rglob("*") if path.is_file() and not path.suffix)


def damage(target: Path, how: str) -> None:
    """Do to a stored object what disks and people do."""
    place = target.parents[3]
    if how == "claim":
        for claim in (place / "images").glob(f"*/{target.name[:40]}"):
            claim.unlink()
    elif how == "record":
        target.with_name(f"{target.name}.json").unlink(missing_ok=True)
    elif how == "remove":
        target.unlink()
    else:
        target.chmod(0o644)
        with target.open("r+b") as file:
            if how == "cut":
                file.truncate(len(file.read()) // 2)
            else:
                first = file.read(1)[0]
                file.seek(0)
                file.write(bytes([first ^ 1]))
        target.chmod(0o444)
