"""What the verbs share that build an engine: settings from flags, a clean stop, and the end of an apply."""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import FrameType

from controller import wiring
from controller.cli import exits, screen
from controller.cli.source_options import Asking
from controller.gitops import crds
from controller.gitops.given import Given
from controller.gitops.loop import Standalone
from controller.settings import EngineSettings, GitSettings, ScrubSettings, Settings, SourceSettings, TransferSettings

BUSY_SHARE = 8
"""What part of the scrub's budget is left while a transfer runs; as in settings.py."""
Networks = Sequence[IPv4Network | IPv6Network]


def settings(
    networks: Networks,
    allowed_paths: Sequence[Path],
    *,
    max_size: int,
    asking: Asking | None = None,
    parallel: int | None = None,
    resync_interval: timedelta | None = None,
    scrub_rate: int | None = None,
) -> Settings:
    """Return what the flags say; None is the default of settings.py."""
    transfer = TransferSettings(default_max_size_bytes=max_size)
    engine = EngineSettings()
    asking = asking or Asking()
    return Settings(
        source=SourceSettings(tuple(networks), tuple(allowed_paths), asking.politeness, asking.proxies),
        transfer=replace(transfer, concurrency=parallel) if parallel else transfer,
        engine=replace(engine, resync_interval=resync_interval) if resync_interval else engine,
        scrub=ScrubSettings(scrub_rate, max(scrub_rate // BUSY_SHARE, 1)) if scrub_rate else ScrubSettings(),
    )


def given(
    paths: Sequence[Path], git: GitSettings | None, policy: SourceSettings, secrets_dir: Path | None, *, keep: bool
) -> Given:
    """Read manifests to look at; `keep`: those of a repository also as they were written.

    Raises:
        Usage: the Secrets lie where they must not. What keeps the newest commit from being read.

    """
    found = Given(wiring.loader(wiring.clock()), paths)
    if git is not None:
        with interrupts() as stop, wiring.glimpse(policy, git, secrets_dir, paths) as repository:
            found.add_newest(repository, crds.admission(), git, stop, keep=keep)
    return found


def tell_followed(instance: Standalone) -> int:
    """Say why the newest commit of the repository, if one is followed, is not in force; return the exit code for it."""
    if instance.following is None or not instance.following.exit_code:
        return exits.OK
    for problem in instance.following.problems:
        screen.warn(str(problem))
    followed = instance.state.followed()
    if followed is not None:
        screen.warn(followed.shown)
    return instance.following.exit_code


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set. The second signal has its usual effect: somebody is in a hurry."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask_to_stop(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask_to_stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
