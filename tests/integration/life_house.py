"""The place that the life model is played in: manifests, Secrets, an upstream and storages, made as the world says."""

import base64
import json
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.fakes.memory_directory import SHARED_MEMORY
from tests.integration import ranged_server
from tests.integration.life_model import CONTENTS, SHA256, Wish, World, tag
from tests.integration.life_moment import STORAGES


class LifeHouse:
    """Directories and a server, until `close`."""

    def __init__(self) -> None:
        parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self.home = Path(tempfile.mkdtemp(prefix="goldmaster-", dir=parent))
        self.manifests, self.secrets, self.state = (self.home / name for name in ("manifests", "secrets", "state"))
        self.manifests.mkdir()
        self.secrets.mkdir(mode=0o700)
        self.world = World()
        self.wishes: dict[str, Wish] = {}
        self._held = ExitStack()
        self.served = self._held.enter_context(ranged_server.serving())
        self.served.guard = self._guard
        for storage in STORAGES:
            self.write_storage(storage)

    def close(self) -> None:
        """Leave nothing behind."""
        self._held.close()
        shutil.rmtree(self.home)

    # --- manifests -------------------------------------------------------------------------------------------------

    def write(self, owner: str, wish: Wish) -> None:
        wish = self.wishes[owner] = wish.lawful()
        namespace, _, name = owner.partition("/")
        spec = {
            "url": self.served.url(wish.path),
            "mirrors": [self.served.url(path) for path in wish.mirrors],
            "backupStorages": list(wish.places),
            "deletionPolicy": wish.policy,
            "revisionHistoryLimit": wish.limit,
            "suspend": wish.suspend,
            "retry": {"initialBackoff": "1s", "maxBackoff": "1s"},
            "checksum": f"sha256:{wish.promised or '0' * 64}" if wish.promised is not None else None,
            "format": wish.format,
            "secretRef": {"name": "key"} if wish.secret else None,
            "interval": "1h" if wish.watch else None,
            "updatePolicy": wish.watch,
        }
        said = {field: value for field, value in spec.items() if value not in (None, [])}
        metadata = {"name": name, "namespace": namespace}
        document = {"apiVersion": "goldmaster.dev/v1alpha1", "kind": "Image", "metadata": metadata, "spec": said}
        self._file(owner).write_text(json.dumps(document))

    def _file(self, owner: str) -> Path:
        return self.manifests / f"image-{owner.replace('/', '-')}.json"

    def remove(self, owner: str) -> None:
        self._file(owner).unlink()
        del self.wishes[owner]

    # --- the upstream, and who gets what -----------------------------------------------------------------------------

    def serve(self) -> None:
        self.served.files = {path: CONTENTS[content] for path, content in self.world.offered.items()}
        self.served.etags = {path: tag(SHA256[content]) for path, content in self.world.offered.items()}

    def _guard(self, path: str, authorization: str | None) -> int:
        wanted = self.world.locks.get(path)
        said = None if authorization is None else base64.b64decode(authorization.partition(" ")[2]).decode()
        return 200 if wanted is None or said == f"robot:{wanted}" else 401

    def write_secret(self, password: str | None) -> None:
        self.world.key = password
        for namespace in ("default", "team"):
            path = self.secrets / f"{namespace}.json"
            path.unlink(missing_ok=True)
            if password is not None:
                document = {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "key", "namespace": namespace},
                    "type": "goldmaster.dev/source",
                    "stringData": {"origins": self.served.url(""), "username": "robot", "password": password},
                }
                path.touch(mode=0o600)
                path.write_text(json.dumps(document))

    # --- storages --------------------------------------------------------------------------------------------------

    def bring_back(self, storage: str) -> None:
        if storage in self.world.away:
            place = self.home / storage
            if place.exists():
                place.rmdir()  # fails if something was made where a storage was lost
            (self.home / f"{storage}-away").rename(place)
        for some in (self.world.away, self.world.disabled, self.world.dropped):
            some.discard(storage)
        self.write_storage(storage)

    def lose(self, storage: str, what: str) -> None:
        """Let a storage be Disabled, its manifest gone, or its mount lost, with an `empty` directory there or none."""
        if what == "Disabled":
            self.world.disabled.add(storage)
            self.write_storage(storage)
        elif what == "gone":
            self.world.dropped.add(storage)
            (self.manifests / f"{storage}.json").unlink()
        else:
            self.world.away.add(storage)
            (self.home / storage).rename(self.home / f"{storage}-away")
            if what == "empty":
                (self.home / storage).mkdir()

    def write_storage(self, storage: str) -> None:
        document = {
            "apiVersion": "goldmaster.dev/v1alpha1",
            "kind": "BackupStorage",
            "metadata": {"name": storage},
            "spec": {
                "type": "ImageStore",
                "imageStore": {"path": str(self.home / storage)},
                "reservedCapacity": "1Mi",
                "state": "Disabled" if storage in self.world.disabled else "Enabled",
            },
        }
        (self.manifests / f"{storage}.json").write_text(json.dumps(document))
