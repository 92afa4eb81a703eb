"""A household of standalone mode: manifests, sources and a state in directories of a test, and what to ask of them."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

from controller import wiring
from controller.gitops.loop import Standalone
from controller.gitops.tree import Problem
from controller.model import conditions
from controller.model.conditions import ConditionType
from controller.model.resource import Image
from controller.reasons import Reason
from controller.settings import EngineSettings, Settings, SourceSettings, StandaloneSettings

WAIT_S = 60.0
RAW = bytes(range(256)) * 4096
OTHER = bytes(reversed(range(256))) * 4096


class House:
    """A manifest tree, a directory of source files and a state directory."""

    def __init__(self, root: Path) -> None:
        self.manifests, self.sources, self.state_dir = root / "manifests", root / "sources", root / "state"
        self.manifests.mkdir()
        self.sources.mkdir()
        self.mode = StandaloneSettings(self.state_dir, scan_interval=timedelta(seconds=1))
        self.settings = Settings(
            source=SourceSettings(allowed_paths=(self.sources,)),
            engine=EngineSettings(probe_interval=timedelta(seconds=1)),
        )

    def source(self, name: str, data: bytes) -> str:
        (self.sources / name).write_bytes(data)
        return str(self.sources / name)

    def image(self, name: str, url: str, **spec: object) -> None:
        lines = [f"  {field}: {value}" for field, value in {"url": url, **spec}.items()]
        head = ["apiVersion: goldmaster.dev/v1alpha1", "kind: Image", f"metadata: {{name: {name}}}", "spec:"]
        beside = self.state_dir.parent / f"{name}.yaml"
        beside.write_text("\n".join(head + lines) + "\n")
        beside.rename(self.manifests / beside.name)  # whoever watches never sees half of it

    def storage(self, name: str) -> Path:
        path = self.state_dir.parent / name
        (self.manifests / f"storage-{name}.yaml").write_text(
            "apiVersion: goldmaster.dev/v1alpha1\nkind: BackupStorage\n"
            f"metadata: {{name: {name}}}\n"
            f"spec: {{type: ImageStore, imageStore: {{path: {path}}}, reservedCapacity: 1Mi}}\n"
        )
        return path

    @contextmanager
    def instance(self) -> Iterator[Standalone]:
        with wiring.standalone(self.settings, self.mode) as standalone:
            yield standalone

    def apply(self) -> dict[str, Image]:
        """Converge once; return the images by name."""
        with self.instance() as standalone:
            trees = standalone.load([self.manifests])
            assert [str(problem) for tree in trees for problem in tree.problems] == []
            applied = standalone.take(trees)
            assert applied.problems == ()
            assert standalone.converge(WAIT_S, threading.Event()).ended
            return {image.meta.key.name: image for image in standalone.state.images()}

    def objects(self, store: str = "state/storage") -> set[str]:
        """Return the names of the stored contents, each checked against its bytes."""
        found = set()
        for path in (self.state_dir.parent / store / "objects").rglob("*"):
            if path.is_file() and path.suffix != ".json":
                assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
                found.add(path.name)
        return found

    def staged(self) -> list[str]:
        return sorted(path.name for path in (self.state_dir / "storage" / "staging").iterdir())


def ready(image: Image) -> bool:
    return conditions.is_true(image.status.conditions, ConditionType.READY)


def reason(image: Image) -> Reason:
    found = conditions.find(image.status.conditions, ConditionType.READY)
    assert found is not None
    return found.reason


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def running(
    instance: AbstractContextManager[Standalone],
    paths: Sequence[Path],
    report: Callable[[Sequence[Problem]], None] = lambda _: None,
) -> Iterator[Standalone]:
    """Run `keep` in a thread."""
    with instance as standalone:
        stop = threading.Event()
        thread = threading.Thread(target=standalone.keep, args=(paths, stop, report))
        thread.start()
        try:
            yield standalone
        finally:
            stop.set()
            thread.join()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread; fail after WAIT_S."""
    gate = threading.Event()
    for _ in range(int(WAIT_S / 0.05)):
        if condition():
            return
        gate.wait(0.05)
    raise AssertionError("did not happen")
