"""A person who pushes to a repository, and `apply --git`, with what it tells and what is served then."""

import base64
import json

from tests.fakes import images
from tests.integration.git_world import World
from tests.integration.shell import Shell


class Story:
    """A repository behind a transport, a directory of Secrets, and `apply --git`."""

    def __init__(self, world: World, shell: Shell) -> None:
        self.world, self.shell = world, shell
        self.written = world.written
        self.secrets = shell.root / "secrets"
        self.secrets.mkdir(mode=0o700)
        self.sources = {name: images.raw(seed=seed) for seed, name in enumerate("ab")}
        for name, data in self.sources.items():
            (shell.sources / name).write_bytes(data)

    def tell(self, name: str, source: str, **spec: object) -> None:
        """Write the manifest of an image."""
        document = {
            "apiVersion": "goldmaster.dev/v1alpha1",
            "kind": "Image",
            "metadata": {"name": name},
            "spec": {"url": str(self.shell.sources / source), "format": "raw", **spec},
        }
        self.written.write(f"images/{name}.json", json.dumps(document))

    def entrust(self) -> None:
        """Write the Secret that the server asks for, if it asks for any."""
        data = {key: base64.b64encode(value).decode() for key, value in self.world.secret.items()}
        file = self.secrets / "git.json"
        file.touch(mode=0o600)
        metadata = {"name": "git"}
        document = {"apiVersion": "v1", "kind": "Secret", "type": "goldmaster.dev/source", "metadata": metadata}
        file.write_text(json.dumps({**document, "data": data}))

    def apply(self, *flags: str) -> int:
        secret = ("--secrets", str(self.secrets), "--git-secret", "git") if self.world.secret else ()
        place = ("--git", self.world.url, "--path", "images", "--allow-network", "127.0.0.0/8", *secret)
        return self.shell("apply", *place, "--allow-path", str(self.shell.root), *flags)

    def serves(self) -> str | None:
        """Return the name of the source whose bytes the Ready image serves."""
        ready = self.shell.condition("a", "Ready")
        status = self.shell.status("a")
        assert ready is not None
        (path,) = [
            self.shell.state / "storage" / "images" / ref["installPath"].removeprefix("zstore://")
            for ref in status["backupStorageRefs"]
        ]
        found = {data: name for name, data in self.sources.items()}
        return found[path.read_bytes()] if ready["status"] == "True" else None

    def revision(self) -> str:
        found: str = self.shell.status("a")["observedRevision"]
        return found
