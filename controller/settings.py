"""What can be set, in frozen groups. A flag wins over its GOLDMASTER_… variable, that over the default here."""

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from controller.model.git_url import GitUrl
from controller.model.url import SourceUrl


@dataclass(frozen=True, slots=True)
class PolitenessSettings:
    """What an origin (scheme://host:port) is spared. A Retry-After is honoured on top, for all images together."""

    connections_per_origin: int = 4
    """Connections at once. Default 4: as many as transfers run by default; mirrors begin to refuse above that."""
    requests_per_minute: int = 1200
    """Requests a minute, redirects and checksum lists counted; a minute's worth may come at once. Default 1200: a first
    apply of a thousand images is not slowed, and a loop of ours does not become an attack."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Which proxies http(s) sources are asked through. Variables like HTTP_PROXY are never looked at: what a shell
    happened to export must not decide who sees the requests."""

    http: SourceUrl | None = None
    """`http://host:port` of the proxy for http sources. Default none: they are asked directly."""
    https: SourceUrl | None = None
    """The same for https sources, whose TLS goes through it in a tunnel. Default none."""
    no_proxy: tuple[str, ...] = ()
    """Hosts asked directly: names with all below them, addresses and networks. Default none."""
    credentials_file: Path | None = None
    """A file of one line `user:password` for the proxies. Default none. Never a value: command lines are public."""
    resolves: bool = False
    """Whether names are left to the proxy. Default no: they are looked up and judged here too, which needs a DNS that
    knows them; with yes the proxy's own rules are the only ones for names."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """The source policy: closed unless opened."""

    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Ranges that http(s) sources may live in beside the public internet. Default none: a manifest must not reach
    loopback, the local network or a metadata service."""
    allowed_paths: tuple[Path, ...] = ()
    """Directories that file:// may read below. Default none: a manifest must not read this machine's files."""
    politeness: PolitenessSettings = field(default_factory=PolitenessSettings)
    proxies: ProxySettings = field(default_factory=ProxySettings)


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How bytes move."""

    concurrency: int = 4
    """Transfers at once. Default 4: two cores are busy hashing with two; the others hide latency."""
    default_max_size_bytes: int = 2**40
    """Bytes; what an Image without maxSize may weigh, downloaded and virtual. Default 1 TiB."""
    abandoned_after: timedelta = timedelta(minutes=15)
    """How long a partial that no image waits for lies untouched before it is removed. Default 15 minutes: another
    instance on the same storage touches its own all the time, and loses no more than a download if it does not."""
    sweep_interval: timedelta = timedelta(hours=1)
    """How often each storage's staging room is swept, beside the start. Default an hour."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How often the engine looks."""

    workers: int = 2
    """Threads that reconcile. Default 2: a pass is short and mostly file system calls."""
    resync_interval: timedelta = timedelta(minutes=10)
    """How often each image's copies are looked at again, plus 0..20 % jitter. Default 10 minutes."""
    probe_interval: timedelta = timedelta(seconds=60)
    """How often each storage is probed. Default 60 s, as the inventory this product is modelled on does."""
    progress_interval: timedelta = timedelta(seconds=5)
    """How often a running transfer's progress is written to its status at the most. Default 5 s."""


@dataclass(frozen=True, slots=True)
class ScrubSettings:
    """How storages are read again, where `spec.scrubInterval` asks for it. Each storage has a budget of its own."""

    bytes_per_s: int = 32 * 2**20
    """Bytes read per second and storage. Default 32 MiB: 2.6 TiB a day, a fifth of what one spinning disk reads and a
    few per cent of a core."""
    busy_bytes_per_s: int = 4 * 2**20
    """The same while a transfer runs. Default 4 MiB: transfers go first, and a storage that always has one is scrubbed
    nevertheless."""
    note_every: timedelta = timedelta(seconds=10)
    """How often the position is made durable beside the bytes, at the most. Default 10 s: what a kill costs to read
    again, beside the copy that was being read."""


@dataclass(frozen=True, slots=True)
class GitSettings:
    """A repository of manifests that is followed."""

    url: GitUrl
    branch: str | None = None
    """Default: the branch that the server calls its HEAD."""
    below: str = ""
    """Only what lies below this path of the repository is manifests. Default all of it."""
    interval: timedelta = timedelta(minutes=1)
    """How often the server is asked for the newest commit, plus 0..20 % jitter: one small request. Default a minute."""
    secret: tuple[str, str] | None = None
    """Namespace and name of the Secret with the server's credentials. Default: none are sent."""
    allowed_signers: Path | None = None
    """The file of ssh-keygen(1) that says whose signature a commit must have. Default: none is asked for."""
    accepted: str | None = None
    """The one commit that is taken, once, although it does not descend from the last one whose signature was good.
    Default: none is."""


@dataclass(frozen=True, slots=True)
class StandaloneSettings:
    """What a state directory and a tree of manifests need."""

    state_dir: Path
    """Where the state, and the storage `default`, live."""
    scan_interval: timedelta = timedelta(seconds=30)
    """How often the whole tree is read again in case a file event was lost. Default 30 s."""
    max_deletions_percent: int = 30
    """At most this share of a tree's objects (but always 5) may disappear within 10 minutes without confirmation."""
    confirm_deletions: bool = False
    """Take a larger disappearance as meant."""
    secrets_dir: Path | None = None
    """Where the Secrets that images name lie. Default none: an image that names one waits."""
    git: GitSettings | None = None
    """The repository to follow. Default none: manifests come from PATHs."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """What a cluster needs."""

    kubeconfig: Path | None = None
    """Which API server. Default: KUBECONFIG, the Pod's own, ~/.kube/config, in this order."""
    storage_roots: tuple[Path, ...] = ()
    """Directories that an ImageStore may live below. Default none: who may make a BackupStorage in a cluster is not
    thereby allowed to write anywhere on this machine."""
    list_interval: timedelta = timedelta(minutes=5)
    """How often everything is listed anew, in case the watch lost something or died. Default 5 minutes."""
    leader_election: bool = False
    """Whether to wait for the Lease `goldmaster` in our namespace before doing anything. Default no: a single replica
    goes on with its transfers through an outage of the API server, as it has no lease to lose."""
    lease_duration: timedelta = timedelta(seconds=15)
    """After how long a silent holder of the lease is taken to be dead. Default 15 s, as Kubernetes' own controllers."""
    serve: tuple[str, int] | None = None
    """Host and port of /healthz, /readyz and /metrics; host "" is every address. Default: not served."""
    workers: int = 8
    """Threads that reconcile, in place of EngineSettings.workers. Default 8: a pass waits for the API server's answers
    most of the time; with two, 1,000 small images took twice as long."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All groups that both modes share."""

    source: SourceSettings = field(default_factory=SourceSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    scrub: ScrubSettings = field(default_factory=ScrubSettings)
