"""The composition root: settings -> adapters -> engine -> mode. The only place that builds things."""

import functools
import os
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from controller import errors, reading
from controller.adapters.backup.confined import ConfinedStorages
from controller.adapters.backup.factory import BackupStorages
from controller.adapters.backup.rehearsed import RehearsedStorages
from controller.adapters.clock import SystemClock
from controller.adapters.git.remote import Remote
from controller.adapters.git.repository import GitRepository
from controller.adapters.git.working_copies import GitWorkingCopies
from controller.adapters.openpgp import OpenPgp
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.file import FileSource
from controller.adapters.sources.http import HttpSource
from controller.adapters.sources.politeness import Politeness
from controller.adapters.sources.proxy import Proxies, read_credentials
from controller.adapters.sources.router import SourceRouter
from controller.engine.engine import Engine, OnChange
from controller.engine.figures import Figures
from controller.engine.holdings import Holdings
from controller.engine.storages import Storages
from controller.engine.transfer.lanes import CONCURRENT_LOOKS, Lanes
from controller.engine.transfer.pool import EmbeddedTransfers
from controller.gitops import crds
from controller.gitops.following import Following
from controller.gitops.instance_lock import InstanceLock
from controller.gitops.loader import Loader
from controller.gitops.loop import Progress, Standalone
from controller.gitops.said import Said
from controller.gitops.secrets import SecretFiles
from controller.gitops.state import State
from controller.gitops.view import StateView
from controller.model.git_secret import GitCredentials, credentials_for
from controller.model.resource import Key
from controller.plan.observed import Limits
from controller.ports import Clock, Resources, Secrets, StorageFactory
from controller.settings import (
    GitSettings,
    OperatorSettings,
    ProxySettings,
    Settings,
    SourceSettings,
    StandaloneSettings,
)

if TYPE_CHECKING:
    from controller.kube.client import Client
    from controller.kube.foresight import Foreseen
    from controller.kube.loop import Operator
    from controller.serve.health import Pulse
    from controller.serve.metrics import Reading

CLOSE_WITHIN_S = 30.0
"""Seconds that running transfers get to leave a resumable partial behind."""


class Built:
    """An engine and what must be closed with it."""

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        clock: Clock,
        forbidden: Sequence[Path],
        storages: Callable[[Clock], StorageFactory] = BackupStorages,
        secrets: Secrets | None = None,
        figures: Figures | None = None,
    ) -> None:
        figures = figures or Figures()
        self.progress = Progress()
        self._transfers: Lanes | None = None
        factory = storages(clock)
        source = sources(settings.source, clock, forbidden)

        def transfers(on_change: OnChange, holdings: Holdings) -> Lanes:
            def pool(concurrency: int, counted: Figures | None, known: Holdings | None) -> EmbeddedTransfers:
                return EmbeddedTransfers(
                    source,
                    factory,
                    clock,
                    on_change,
                    concurrency=concurrency,
                    per_origin=settings.source.politeness.connections_per_origin,
                    secrets=secrets,
                    verifier=OpenPgp(clock),
                    figures=counted,
                    holdings=known,
                )

            looks = pool(CONCURRENT_LOOKS, None, None)
            self._transfers = Lanes(pool(settings.transfer.concurrency, figures, holdings), looks)
            return self._transfers

        self.engine = Engine(
            resources,
            factory,
            transfers,
            clock,
            settings.engine,
            settings.transfer,
            self.progress.saw,
            figures,
            secrets,
            settings.scrub,
        )

    def close(self) -> bool:
        """Stop transfers (resumable), then the workers; return whether all ended in time."""
        ended = self._transfers.close(CLOSE_WITHIN_S) if self._transfers else True
        self.engine.stop()
        return ended


def sources(settings: SourceSettings, clock: Clock, forbidden: Sequence[Path]) -> SourceRouter:
    """Return what answers for http, https and file. `forbidden`: directories that no file URL may read."""
    politeness = Politeness(clock, settings.politeness)
    proxies = _proxies(settings.proxies)
    http = HttpSource(AddressPolicy(settings.allowed_networks), clock, politeness=politeness, proxies=proxies)
    return SourceRouter(
        {"http": http, "https": http, "file": FileSource(settings.allowed_paths, clock, forbidden_paths=forbidden)}
    )


def _proxies(settings: ProxySettings) -> Proxies:
    """Return the proxies; what is wrong with their credentials is told now, not image by image."""
    if settings.credentials_file is not None:
        try:
            read_credentials(settings.credentials_file)
        except errors.DependencyNotReady as error:
            raise errors.Usage(f"--proxy-credentials: {error}") from error
    return Proxies(settings)


def loader(clock: Clock, state_dir: Path | None = None) -> Loader:
    """Return what reads trees of manifests."""
    return Loader(crds.admission(), clock, ignore=state_dir)


def clock() -> Clock:
    """Return the system's clock."""
    return SystemClock()


@contextmanager
def standalone(settings: Settings, mode: StandaloneSettings, paths: Sequence[Path] = ()) -> Iterator[Standalone]:
    """Build the one reconciling instance of a state directory, and close it. `paths`: where manifests are.

    Raises:
        StateLocked: another instance has it. StateBroken. Usage: the Secrets lie where they must not.

    """
    system = SystemClock()
    secrets = _secrets(mode.secrets_dir, paths)
    forbidden = [path for path in (mode.state_dir, mode.secrets_dir) if path is not None]
    lock = InstanceLock(mode.state_dir).acquire()
    try:
        with State.open(mode.state_dir, system) as state:
            followed = following(settings.source, mode, state, system, secrets, mode.state_dir / "git")
            built = Built(settings, state, system, forbidden, secrets=secrets)
            with _instance(built, state, mode, system, followed) as instance:
                yield instance
    finally:
        lock.release()


def following(
    policy: SourceSettings,
    mode: StandaloneSettings,
    state: State,
    clock: Clock,
    secrets: Secrets | None,
    folder: Path,
) -> Following | None:
    """Return what follows the repository of the settings, with a copy of it in `folder`; None where there is none."""
    if mode.git is None:
        return None
    return Following(_repository(policy, mode.git, clock, secrets, folder), crds.admission(), mode.git, state)


def _repository(
    policy: SourceSettings, git: GitSettings, clock: Clock, secrets: Secrets | None, folder: Path
) -> GitRepository:
    def credentials() -> GitCredentials | None:
        if git.secret is None:
            return None
        if secrets is None:
            raise errors.Usage("--git-secret needs --secrets DIR")
        return credentials_for(git.url, secrets.read(*git.secret))

    networks = AddressPolicy(policy.allowed_networks)
    remote = Remote(git.url, folder, networks, policy.allowed_paths, clock, proxies=_proxies(policy.proxies))
    return GitRepository(remote, git.branch, folder, clock, credentials, git.allowed_signers)


@contextmanager
def glimpse(
    policy: SourceSettings, git: GitSettings, secrets_dir: Path | None, paths: Sequence[Path]
) -> Iterator[GitRepository]:
    """Yield a repository to look at once; its copy is gone when the block ends. `paths`: as `standalone`.

    Raises:
        Usage: the Secrets lie where they must not, or there is no room for a copy.

    """
    secrets = _secrets(secrets_dir, paths)
    with _room() as folder:
        yield _repository(policy, git, SystemClock(), secrets, folder)


def _secrets(folder: Path | None, paths: Sequence[Path]) -> SecretFiles | None:
    if folder is None:
        return None
    secrets = SecretFiles(folder)
    secrets.check(paths)
    return secrets


@contextmanager
def _room() -> Iterator[Path]:
    """Yield a directory for the copy of a repository that is only looked at."""
    try:
        room = tempfile.TemporaryDirectory(prefix="goldmaster-")
    except OSError as exc:
        raise errors.Usage(
            f"no room for a copy of the repository: {exc.strerror or exc}; TMPDIR names another"
        ) from exc
    with room as folder:
        yield Path(folder)


@contextmanager
def rehearsal(settings: Settings, mode: StandaloneSettings, paths: Sequence[Path] = ()) -> Iterator[Standalone]:
    """Build an instance over a copy of the state in memory: what it plans changes nothing. `paths`: as `standalone`."""
    system = SystemClock()
    secrets = _secrets(mode.secrets_dir, paths)
    room = nullcontext(mode.state_dir) if mode.git is None else _room()
    with State.rehearse(mode.state_dir, system) as state, room as folder:
        built = Built(settings, state, system, [mode.state_dir], storages=RehearsedStorages)
        followed = following(settings.source, mode, state, system, secrets, folder)
        with _instance(built, state, mode, system, followed) as instance:
            yield instance


@contextmanager
def _instance(
    built: Built, state: State, mode: StandaloneSettings, clock: Clock, followed: Following | None = None
) -> Iterator[Standalone]:
    """Give what was built its manifests, and close it."""
    trees, copies = loader(clock, mode.state_dir), GitWorkingCopies(clock)
    try:
        yield Standalone(state, built.engine, built.progress, trees, copies, mode, clock, followed)
    finally:
        built.close()


@contextmanager
def beside(settings: Settings, mode: StandaloneSettings) -> Iterator[tuple[State, Engine]]:
    """Open the state for reading and its storages, beside a running instance: for `verify` and `doctor`.

    Raises:
        NotFound: there is no state.

    """
    system = SystemClock()
    with State.open_reading(mode.state_dir, system) as state:
        built = Built(settings, state, system, [mode.state_dir])
        try:
            built.engine.storages.load()
            yield state, built.engine
        finally:
            built.close()


def note_copies(state_dir: Path, keys: Iterable[Key]) -> bool:
    """Write down how the copies of images look now; return whether it did: an instance that runs does it by itself.

    Raises:
        NotFound, StateBroken.

    """
    try:
        with standalone(Settings(), StandaloneSettings(state_dir)) as alone:
            alone.engine.note(keys, probe=True)
    except errors.StateLocked:
        return False
    return True


@contextmanager
def stores(place: reading.Place, warn: Callable[[str], None]) -> Iterator[tuple[reading.View, Storages]]:
    """Open the objects of a place and, beside whoever reconciles them, their storages as this machine reaches them.

    Raises:
        NotFound: there is no state. ClusterUnavailable, ClusterDenied.

    """
    system = SystemClock()
    if place.state_dir is not None:
        with beside(Settings(), StandaloneSettings(place.state_dir)) as (state, engine):
            yield StateView(state, place.state_dir, system), engine.storages
        return
    with reading.cluster(place, warn) as cluster:
        storages = Storages(cluster.storages_only(), BackupStorages(system), system, lambda _: None)
        storages.load()
        yield cluster, storages


def foreseen(
    place: reading.Place,
    settings: Settings,
    documents: Iterable[Said],
    namespace: str | None,
    warn: Callable[[str], None],
) -> list["Foreseen"]:
    """Return what applying manifests to a cluster would lead to; only reads. `warn` is told what cannot be known.

    Raises:
        ClusterUnavailable, ClusterDenied: it cannot be asked, or a right to read is missing.

    """
    from controller.kube.foresight import foresee

    with reading.cluster(place, warn) as cluster:
        keyed = ((cluster.key_of(said.document, namespace), said.document) for said in documents)
        known = [(key, document) for key, document in keyed if key is not None]
        limits = Limits(
            default_max_size_bytes=settings.transfer.default_max_size_bytes,
            progress_interval_s=settings.engine.progress_interval.total_seconds(),
            resync_interval_s=settings.engine.resync_interval.total_seconds(),
        )
        return list(foresee(cluster, crds.admission(), known, SystemClock().now(), limits))


@contextmanager
def operator(settings: Settings, mode: OperatorSettings) -> Iterator["Operator"]:
    """Build the operator of a Kubernetes API server, and close it.

    Raises:
        Usage: no API server is named, or its kubeconfig cannot be used.

    """
    from controller.kube import access
    from controller.kube.client import Client
    from controller.kube.events import Events
    from controller.kube.lease import Lease
    from controller.kube.loop import Alone, Leadership, Operator
    from controller.kube.secrets import KubeSecrets

    settings = replace(settings, engine=replace(settings.engine, workers=mode.workers))
    system = SystemClock()
    client = Client(access.find(mode.kubeconfig, os.environ), system)
    done = Figures()

    def storages(clock: Clock) -> StorageFactory:
        return ConfinedStorages(BackupStorages(clock), mode.storage_roots)

    def build(resources: Resources) -> Built:
        return Built(settings, resources, system, mode.storage_roots, storages, KubeSecrets(client), done)

    identity = f"{socket.gethostname()}_{uuid.uuid4()}"  # the host name of a Pod is its name
    leadership: Leadership = Alone()
    if mode.leader_election:
        leadership = Lease(client, client.access.namespace, "goldmaster", identity, system, mode.lease_duration)
    events = Events(client, system, identity)
    built = Operator(client, build, mode, system, leadership, events.saw)
    try:
        read = functools.partial(_reading, built, client, done, system)
        with _serving(mode.serve, built.health, read, system, mode.list_interval):
            yield built
    finally:
        events.close()
        client.close()


def _reading(of: "Operator", client: "Client", done: Figures, clock: Clock) -> "Reading":
    """Return what an operator shows at this moment."""
    from controller.serve.metrics import ClusterReading, Reading

    health, engine = of.health, of.health.engine
    return Reading(
        leading=health.leading,
        resources=health.resources,
        now=clock.now(),
        done=done,
        queue_depth=len(engine.queue) if engine else 0,
        transfers=engine.transfers.load() if engine else (0, 0),
        cluster=ClusterReading(
            api_writes=client.writes(),
            resyncs=health.resyncs,
            missed=health.missed,
            feed_starts=health.feed_starts,
            synced_age_s=None if health.synced_at is None else clock.monotonic() - health.synced_at,
        ),
    )


@contextmanager
def served(of: Standalone, address: tuple[str, int] | None, scan_interval: timedelta) -> Iterator[int | None]:
    """Answer probes and scrapes of a standalone instance for as long as the block lasts, at the port that is yielded.

    Without an address nothing is answered.

    Raises:
        Usage: the address cannot be had.

    """
    system = SystemClock()

    def read() -> "Reading":
        from controller.serve.metrics import Reading

        engine = of.engine
        return Reading(True, of.state, system.now(), engine.figures, len(engine.queue), engine.transfers.load())

    with _serving(address, of.pulse, read, system, scan_interval) as port:
        yield port


@contextmanager
def _serving(
    address: tuple[str, int] | None, pulse: "Pulse", read: Callable[[], "Reading"], clock: Clock, interval: timedelta
) -> Iterator[int | None]:
    if address is None:
        yield None
        return
    from controller.serve.metrics import Metrics
    from controller.serve.server import Server

    server = Server(*address, pulse, Metrics(read), clock, interval)
    port = server.start()
    try:
        yield port
    finally:
        server.close()
