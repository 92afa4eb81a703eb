"""The folder a measurement works in: generated images, a real nginx that serves them, our command."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import cost

ROOT = Path(__file__).parents[2]
MIB = 2**20
IMAGE = """\
apiVersion: goldmaster.dev/v1alpha1
kind: Image
metadata: {{name: {name}}}
spec: {{url: "{url}", format: raw{more}}}
"""
STORAGE = """\
apiVersion: goldmaster.dev/v1alpha1
kind: BackupStorage
metadata: {{name: {name}}}
spec: {{type: ImageStore, imageStore: {{path: "{path}"}}}}
"""


@dataclass(slots=True)
class Workspace:
    """Where a benchmark puts things. `scale` multiplies sizes and counts; 1 is what the goals speak of."""

    folder: Path
    scale: float
    rounds: int
    url: str = ""
    _fresh: int = field(default=0)

    @property
    def served(self) -> Path:
        """What nginx serves at `url`."""
        return self.folder / "served"

    def bytes(self, mib: float) -> int:
        """Return so many MiB, scaled, in whole pages."""
        return max(int(mib * MIB * self.scale) // 4096 * 4096, 65536)

    def count(self, number: int) -> int:
        """Return so many, scaled."""
        return max(int(number * self.scale), 10)

    def fresh(self) -> Path:
        """Return a new empty folder; the one before it is removed, and nothing of it is left to be written out."""
        shutil.rmtree(self.folder / f"run-{self._fresh}", ignore_errors=True)
        os.sync()
        self._fresh += 1
        folder = self.folder / f"run-{self._fresh}"
        folder.mkdir()
        return folder

    def apply(self, manifests: Path, state: Path) -> cost.Cost:
        """Measure `goldmaster apply` as a whole process. Raises cost.Failed unless every image is Ready."""
        return self.goldmaster("apply", str(manifests), "--state", str(state), "--allow-network", "127.0.0.0/8")

    def goldmaster(self, *arguments: str) -> cost.Cost:
        """Measure any verb."""
        return cost.run([sys.executable, "-m", "controller", *arguments], ROOT, log=self.folder / "goldmaster.log")

    def shell(self, script: str) -> Callable[[], cost.Cost]:
        """Return a variant that runs a shell script in a fresh folder."""
        return lambda: cost.run(["sh", "-ec", script], self.fresh())

    def applying(self, manifests: Path) -> Callable[[], cost.Cost]:
        """Return a variant that applies to a fresh state."""
        return lambda: self.apply(manifests, self.fresh() / "state")

    def manifest(self, name: str, file: str, **more: str) -> Path:
        """Write the manifest of a served file; return the folder to apply."""
        folder = self.folder / "manifests" / name
        folder.mkdir(parents=True, exist_ok=True)
        text = IMAGE.format(name=name, url=f"{self.url}/{file}", more="".join(f", {k}: {v}" for k, v in more.items()))
        (folder / "image.yaml").write_text(text)
        return folder

    def random_image(self, name: str, size_bytes: int) -> Path:
        """Serve a disk with a boot sector and no structure else: nothing can be skipped or compressed."""
        path = self.served / name
        with path.open("wb") as file:
            file.write(boot_sector())
            for at in range(512, size_bytes, MIB):
                file.write(os.urandom(min(MIB, size_bytes - at)))
        return path


def boot_sector() -> bytes:
    """Return 512 bytes that say: a PC's disk."""
    return os.urandom(440) + bytes(70) + b"\x55\xaa"
