"""(h) A hundred images of one url, against a hundred urls: what the server is asked and sends."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from tests.bench import cost
from tests.bench.cost import Cost
from tests.bench.table import Goal, Report
from tests.bench.workspace import MIB, Workspace
from tests.fakes.nginx import nginx

COUNT = 100
SIZE_MIB = 16
NAMESPACES = 10
MANIFEST = """\
apiVersion: goldmaster.dev/v1alpha1
kind: Image
metadata: {{name: shared-{number}, namespace: team-{team}}}
spec: {{url: "{url}", format: raw{more}}}
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an access log tells: bodies that were sent in full, all requests, all bytes of bodies."""

    downloads: int
    requests: int
    bytes: int

    @classmethod
    def read(cls, log: Path, size: int) -> "Asked":
        """Read a log in nginx' combined format: status and bytes follow the quoted request."""
        answers = [line.split('" ')[1].split()[:2] for line in log.read_text().splitlines()]
        sent = [int(count) for _, count in answers]
        return cls(sum(count == size for count in sent), len(sent), sum(sent))


def measure(space: Workspace, report: Report) -> None:
    """Over plain http, where another namespace has to name the bytes; each image has a limit of its own."""
    count, size = space.count(COUNT), space.bytes(SIZE_MIB)
    for number in range(count):
        space.random_image(f"each-{number}.raw", size)
    with (space.served / "each-0.raw").open("rb") as file:
        sha256 = file_digest(file, "sha256").hexdigest()
    named = f', checksum: "sha256:{sha256}", maxSize: {{number}}Gi'
    places = space.folder / "nginx-shared"
    with nginx(space.served, places) as url:
        variants = {
            f"{count} urls": manifests(space, "each", f"{url}/each-{{number}}.raw", ""),
            f"{count} images of one url": manifests(space, "alike", f"{url}/each-0.raw", ""),
            f"{count} images of one url and one digest, no two alike": manifests(
                space, "named", f"{url}/each-0.raw", named
            ),
        }
        costs, asked = run(space, variants, places / "access.log", size)
    notes = {
        name: f"{found.downloads} downloads, {found.requests} requests, {found.bytes / MIB:.1f} MiB sent"
        for name, found in asked.items()
    }
    report.add("h", costs, notes)
    *_, one_namespace, many = asked.values()
    report.goals += [
        Goal("h", "downloads of one url by one namespace", one_namespace.downloads, 1, ""),
        Goal("h", f"downloads of one url by {NAMESPACES} namespaces", many.downloads, 1, ""),
    ]


def manifests(space: Workspace, name: str, url: str, more: str) -> Callable[[], Path]:
    """Return what writes a folder of manifests: with more fields, images of several namespaces."""

    def write() -> Path:
        folder = space.folder / "manifests" / f"shared-{name}"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(space.count(COUNT)):
            team = number % NAMESPACES if more else 0
            text = MANIFEST.format(
                number=number, team=team, url=url.format(number=number), more=more.format(number=number + 1)
            )
            (folder / f"{number}.yaml").write_text(text)
        return folder

    return write


def run(
    space: Workspace, variants: dict[str, Callable[[], Path]], log: Path, size: int
) -> tuple[dict[str, list[Cost]], dict[str, Asked]]:
    """Apply each to a fresh state; the log is read after each run, and is of that run alone."""
    asked: dict[str, Asked] = {}

    def variant(name: str, folder: Path) -> Cost:
        log.write_text("")
        spent = space.apply(folder, space.fresh() / "state")
        asked[name] = Asked.read(log, size)
        return spent

    folders = {name: write() for name, write in variants.items()}
    runs = {name: lambda name=name, folder=folder: variant(name, folder) for name, folder in folders.items()}
    return cost.interleave(runs, space.rounds), asked
