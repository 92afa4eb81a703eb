"""The command line as a person has it, in this process, over manifests, sources and a state of a test."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from controller.cli import main
from tests.fakes import images as fake_images


class Shell:
    """Manifests, sources and a state, and the command line in this process."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.manifests, self.sources, self.state = root, root / "m", root / "src", root / "state"
        self.manifests.mkdir()
        self.sources.mkdir()
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        self.told()
        code = main.run([*arguments, "--state", str(self.state)])
        self.out, self.err = self.told()
        return code

    def told(self) -> tuple[str, str]:
        """Return what was printed since the last call."""
        return self._capsys.readouterr()

    def apply(self, *flags: str) -> int:
        return self("apply", str(self.manifests), "--allow-path", str(self.sources), *flags)

    def image(self, name: str, seed: int = 0, spec: Mapping[str, object] | None = None) -> bytes:
        """Write a source and its manifest; return the bytes."""
        data = fake_images.raw(seed=seed)
        (self.sources / name).write_bytes(data)
        self.manifest(name, **{"url": str(self.sources / name), "format": "raw", **(spec or {})})
        return data

    def manifest(self, name: str, **spec: object) -> None:
        document = {
            "apiVersion": "goldmaster.dev/v1alpha1",
            "kind": "Image",
            "metadata": {"name": name},
            "spec": spec,
        }
        beside = self.root / f"{name}.json"
        beside.write_text(json.dumps(document))
        beside.rename(self.manifests / beside.name)  # whoever watches never sees half of it

    def files(self) -> set[str]:
        """Return everything below the root, with its bytes' hash: what changed shows."""
        found = set()
        for path in self.root.rglob("*"):
            facts = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found.add(f"{path.relative_to(self.root)} {facts.st_mtime_ns} {content}")
        return found

    def status(self, name: str) -> dict[str, Any]:
        """Return the status of an image, as `get` prints it."""
        assert self("get", "image", name, "-o", "json") == 0
        found: dict[str, Any] = json.loads(self.out)["status"]
        return found

    def condition(self, name: str, kind: str) -> dict[str, Any] | None:
        """Return a condition of an image."""
        return next((one for one in self.status(name)["conditions"] if one["type"] == kind), None)
