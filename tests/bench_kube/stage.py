"""An API server with an operator under the rights of its manifests, and what the operator's process costs."""

import contextlib
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.apiserver import assets, cluster, fixtures, operating
from tests.apiserver.client import Answer, Client
from tests.bench.cost import Failed

HERE = "/apis/goldmaster.dev/v1alpha1/namespaces/default/images"
CLIENTS = 4
"""Connections over which the benchmark itself creates and deletes."""
PATIENCE_S = 600.0
PAGE = 500
IDLE_S, IDLE_SHARE = 5.0, 0.1
"""An operator that used less than this share of a core for so long is quiet."""
_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)
_pause = threading.Event()


@dataclass(frozen=True, slots=True)
class Spent:
    """What a process has used since its start, as the kernel counts it."""

    at: float
    cpu_s: float
    rss_bytes: int
    peak_bytes: int


class Stage:
    """One cluster and, one after the other, operators on the same storage."""

    def __init__(self, kube: cluster.Cluster, folder: Path) -> None:
        self.kube = kube
        self.folder = folder
        self.api = Client(kube.server, kube.authority, pair=kube.admin_pair, timeout_s=PATIENCE_S)
        self.operator: operating.OperatorProcess | None = None
        self._address = ""

    @property
    def storage(self) -> Path:
        """Where the BackupStorage `main` lies."""
        return self.folder / "storage" / "main"

    def start(self, *flags: str) -> None:
        """Start an operator, and wait until it has listed everything."""
        name = f"operator-{time.monotonic_ns()}"
        self.operator = operating.OperatorProcess(self.kube, self.folder, "--serve=127.0.0.1:0", *flags, name=name)
        self.operator.start()
        self._address = ""
        self.until(lambda: bool(self.operator and self.operator.said("serve.listens")))
        self._address = self.operator.said("serve.listens")[-1]["message"]
        self.until(lambda: self._ask("/readyz")[0] == 200)

    def stop(self) -> None:
        """Ask it to stop."""
        if self.operator is not None:
            self.operator.stop()
            self.operator = None

    def close(self) -> None:
        """End what is still there, however the measurement ended."""
        if self.operator is not None:
            self.operator.kill()
        self.api.close()

    def until(self, holds: Callable[[], bool], pause_s: float = 0.05) -> float:
        """Wait, and return the moment. Raises Failed with the end of the operator's log."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline or (self.operator is not None and not self.operator.alive):
                raise Failed(f"it did not come about:\n{self.operator.tail() if self.operator else ''}")
            _pause.wait(pause_s)
        return time.monotonic()

    def spent(self) -> Spent:
        """Return what the operator used so far; its threads included."""
        assert self.operator is not None
        fields = Path(f"/proc/{self.operator.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.operator.pid}/status").read_text()
        kib = {name: int(re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[1]) for name in ("VmRSS", "VmHWM")}  # type: ignore[index]
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
        return Spent(time.monotonic(), cpu_s, kib["VmRSS"] * 1024, kib["VmHWM"] * 1024)

    def everybody(self) -> Counter[str]:
        """Return the CPU seconds so far of each program on the stage: API server, etcd, nginx, operator, and ours."""
        used: Counter[str] = Counter()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                head, _, tail = stat.read_text().rpartition(")")
                pid, _, name = head.partition(" (")
                fields = tail.split()
                if os.getpid() in {int(pid), int(fields[1])}:
                    operator = self.operator is not None and int(pid) == self.operator.pid
                    mine = "operator" if operator else "benchmark" if int(pid) == os.getpid() else name
                    used[mine] += (int(fields[11]) + int(fields[12])) / _TICKS  # type: ignore[assignment]
        return used

    def quiet(self) -> float:
        """Wait until it has nothing to do; return when that began."""
        before = began = self.spent()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            _pause.wait(0.25)
            now = self.spent()
            if now.cpu_s - before.cpu_s > IDLE_SHARE * (now.at - before.at):
                began = now
            before = now
            if now.at - began.at >= IDLE_S and self.metric("goldmaster_queue_depth") == 0:
                return began.at
        raise Failed("the operator does not come to rest")

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric, summed over the labels that are not given."""
        return summed(self._ask("/metrics")[1], name, labels)

    def writes(self, resource: str = "") -> int:
        """Return how many requests to the API server changed something, Events and leases included."""
        return int(self.metric("goldmaster_api_writes_total", **({"resource": resource} if resource else {})))

    def each(self, items: Sequence[Any], act: Callable[[Any], Answer]) -> list[Answer]:
        """Do the same for many, over a few connections. Raises Failed where the server refuses one."""

        def done(item: Any) -> Answer:  # noqa: ANN401
            answer = act(item)
            if not answer.ok:
                raise Failed(f"the API server says {answer.status}: {answer.message}")
            return answer

        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(done, items))

    def get(self, name: str) -> dict[str, Any]:
        """Return an Image."""
        return self.api.get(f"{HERE}/{name}").body

    def list(self, selector: str = "") -> list[dict[str, Any]]:
        """Return all Images, or those with a label."""
        return [image for page in self.pages(selector) for image in page.body["items"]]

    def pages(self, selector: str = "") -> Iterator[Answer]:
        """Yield the pages of a list, as the operator asks for them."""
        token = ""
        while True:
            answer = self.api.get(
                f"{HERE}?limit={PAGE}&labelSelector={selector}{'&continue=' + token if token else ''}"
            )
            if not answer.ok:
                raise Failed(f"the API server says {answer.status}: {answer.message}")
            yield answer
            token = answer.body["metadata"].get("continue", "")
            if not token:
                return

    def _ask(self, path: str) -> tuple[int, str]:
        answer = urllib3.request("GET", f"http://{self._address}{path}", timeout=60, retries=False)
        return answer.status, answer.data.decode()


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Start a cluster with our CRDs and rights and the storage `main`; end it and what it started."""
    kube = cluster.Cluster(assets.find(os.environ), folder / "cluster")
    made: Stage | None = None
    try:
        kube.start(fixtures.CRDS)
        made = Stage(kube, folder)
        operating.install_rights(kube)
        main = operating.storage("main", made.storage)
        kube.kubectl("apply", "-f", "-", stdin=json.dumps(main))
        yield made
    finally:
        if made is not None:
            made.close()
        kube.stop()


def summed(page: str, name: str, labels: Mapping[str, str]) -> float:
    """Return a metric of a page, summed over the labels that are not given."""
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    return sum(float(value) for at, of, value in _SAMPLE.findall(page) if at == name and wanted <= set(of.split(",")))


class Told:
    """Counts objects by lines of the operator's own log: cheaper than to ask the server while it works."""

    def __init__(self, log: Path, event: str, key: str, **fields: str) -> None:
        """Count from now on. `key` names the object in a line of this event; `fields` must be in it too."""
        self._log = log
        self._at = log.stat().st_size
        self._key = key
        self._wanted = {"event": event, **fields}
        self._names: set[str] = set()

    def count(self) -> int:
        """Return of how many objects it was told so far."""
        with self._log.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        self._at += whole
        hint = f'"{self._wanted["event"]}"'.encode()
        for line in (line for line in text[:whole].splitlines() if hint in line):
            found = json.loads(line)
            if self._wanted.items() <= found.items():
                self._names.add(found[self._key])
        return len(self._names)
