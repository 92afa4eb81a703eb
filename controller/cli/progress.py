"""Progress bars of running transfers, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from controller import logs
from controller.cli import screen
from controller.gitops.loop import Standalone
from controller.model.transfer import Running

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

MAX_BARS = 8


@contextmanager
def shown(instance: Standalone, *, verbose: bool) -> Iterator[Callable[[], None]]:
    """Yield what to call now and then; it draws bars where a person watches standard error, else nothing.

    Elsewhere log lines tell the same. With bars, only warnings are logged, above them.
    """
    if verbose or not screen.is_terminal(sys.stderr):
        logs.configure(verbose=verbose)
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bars:
        # only now, as the bars have taken standard error over and put what is written above themselves
        logs.configure(console=True, quiet=True)
        yield _Bars(instance, bars).tick
    logs.configure()


class _Bars:
    """One bar per running transfer, the first MAX_BARS of them."""

    def __init__(self, instance: Standalone, bars: "Progress") -> None:
        self._instance = instance
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._names = {image.meta.uid: image.meta.key.name for image in instance.state.images()}

    def tick(self) -> None:
        """Look at the transfers and redraw."""
        transfers = self._instance.engine.transfers
        running: dict[str, tuple[str, Running]] = {}
        for uid, name in self._names.items():
            for key in transfers.owned(uid):
                state = transfers.state(key)
                if isinstance(state, Running):
                    running.setdefault(key, (name, state))
        for key in [key for key in self._tasks if key not in running]:
            self._bars.remove_task(self._tasks.pop(key))
        for key, (name, state) in running.items():
            if key not in self._tasks and len(self._tasks) < MAX_BARS:
                self._tasks[key] = self._bars.add_task(name, total=state.total_bytes, completed=state.bytes)
            if key in self._tasks:
                self._bars.update(self._tasks[key], completed=state.bytes, total=state.total_bytes)
