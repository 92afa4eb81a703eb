"""Several namespaces over one state and its storage, in standalone mode, for tests of who shares what."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

from controller import wiring
from controller.engine.figures import Saving
from controller.gitops.loop import Standalone
from controller.model.digest import Digest
from controller.model.resource import Image
from controller.settings import EngineSettings, Settings, SourceSettings, StandaloneSettings, TransferSettings
from tests.fakes import images as fake_images
from tests.integration.house import WAIT_S

SIZE = 1024 * 1024
IMAGE = fake_images.raw(SIZE, seed=1)
OTHER = fake_images.raw(SIZE, seed=2)
SHA256 = "sha256:" + hashlib.sha256(IMAGE).hexdigest()
PATH = "/golden.raw"


@dataclass
class Tenants:
    """A cluster's worth of namespaces over one state directory and its storage."""

    root: Path
    documents: dict[str, dict[str, object]] = field(default_factory=dict)
    saved_bytes: int = 0

    @property
    def store(self) -> Path:
        return self.root / "state" / "storage"

    def image(self, where: str, url: str, **spec: object) -> None:
        """Write a manifest; `where` is namespace/name."""
        namespace, _, name = where.partition("/")
        self.documents[where] = {
            "apiVersion": "goldmaster.dev/v1alpha1",
            "kind": "Image",
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"url": url, "format": "raw", "deletionPolicy": "Direct", **spec},
        }

    def storage(self, name: str) -> Path:
        path = self.root / name
        self.documents[f"/{name}"] = {
            "apiVersion": "goldmaster.dev/v1alpha1",
            "kind": "BackupStorage",
            "metadata": {"name": name},
            "spec": {"type": "ImageStore", "imageStore": {"path": str(path)}, "reservedCapacity": "1Mi"},
        }
        return path

    def secret(self, namespace: str, origin: str, **fields: str) -> None:
        folder = self.root / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "upstream", "namespace": namespace},
            "type": "goldmaster.dev/source",
            "stringData": {"origins": origin, **{name.replace("__", "."): value for name, value in fields.items()}},
        }
        path = folder / f"{namespace}.json"
        path.write_text(json.dumps(document))
        path.chmod(0o600)

    def apply(
        self, *, concurrency: int = 4, during: Callable[[Standalone], None] | None = None, ended: bool = True
    ) -> dict[str, Image]:
        """Converge once, as a process of its own would; return the images by namespace/name."""
        manifests = self._manifests()
        for old in manifests.iterdir():
            old.unlink()
        for number, document in enumerate(self.documents.values()):
            (manifests / f"{number}.yaml").write_text(json.dumps(document))
        settings = Settings(
            source=SourceSettings(allowed_networks=(ip_network("127.0.0.0/8"),)),
            engine=EngineSettings(progress_interval=timedelta(seconds=0.2)),
            transfer=TransferSettings(concurrency=concurrency),
        )
        with wiring.standalone(settings, self._mode, [manifests]) as standalone:
            trees = standalone.load([manifests])
            assert [str(problem) for tree in trees for problem in tree.problems] == []
            assert standalone.take(trees).problems == ()
            beside = None
            if during is not None:
                beside = threading.Thread(target=during, args=[standalone])
                beside.start()
            try:
                converged = standalone.converge(WAIT_S if ended else 3, threading.Event())
            finally:
                if beside is not None:
                    beside.join()
            assert converged.ended is ended
            self.saved_bytes = standalone.engine.figures.saved()[Saving.DEDUPE]
            return {image.meta.key.owner: image for image in standalone.state.images()}

    def forge(self, where: str, *digests: str) -> None:
        """Let the status of an image say that what it has was downloaded under these digests, as whoever may write
        statuses could.
        """
        with wiring.standalone(Settings(), self._mode, [self._manifests()]) as standalone:
            image = next(image for image in standalone.state.images() if image.meta.key.owner == where)
            current = image.status.current
            assert current is not None
            forged = replace(current.content, source_digests=tuple(map(Digest.parse, digests)))
            status = replace(image.status, current=replace(current, content=forged))
            standalone.state.write_image_status(image, status)

    @property
    def _mode(self) -> StandaloneSettings:
        secrets = self.root / "secrets"
        return StandaloneSettings(self.root / "state", secrets_dir=secrets if secrets.is_dir() else None)

    def _manifests(self) -> Path:
        manifests = self.root / "manifests"
        manifests.mkdir(exist_ok=True)
        return manifests

    def copies(self, store: Path | None = None) -> dict[str, int]:
        """Return every claimed file of a storage with its inode, by the folder of its image."""
        return {
            path.parent.name: path.stat().st_ino
            for path in ((store or self.store) / "images").glob("*/*")
            if path.suffix != ".json"
        }


def fetched(image: Image) -> int | None:
    current = image.status.current
    assert current is not None
    assert current.delivery is not None
    return current.delivery.fetched_bytes
