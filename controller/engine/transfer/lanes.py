"""Two lanes of transfers: looks at sources never wait behind downloads, which may take hours."""

from controller.engine.transfer.pool import EmbeddedTransfers
from controller.model.transfer import TransferRequest, TransferState
from controller.plan.source import LOOK

CONCURRENT_LOOKS = 4
"""Looks at once: each is one answer's head. 10,000 images that are looked at hourly are three looks a second."""


class Lanes:
    """Implements `ports.Transfers` over two pools. `close` ends both."""

    def __init__(self, bulk: EmbeddedTransfers, looks: EmbeddedTransfers) -> None:
        self._bulk = bulk
        self._looks = looks

    def start(self, request: TransferRequest, owner: str) -> None:
        """Begin, or join one of the same key."""
        self._lane(request.key).start(request, owner)

    def state(self, key: str) -> TransferState | None:
        """Return where it stands, None where nothing of that key is known."""
        return self._lane(key).state(key)

    def owned(self, owner: str) -> frozenset[str]:
        """Return the keys that this owner started or joined and has not released."""
        return self._bulk.owned(owner) | self._looks.owned(owner)

    def release(self, key: str, owner: str) -> None:
        """The owner is done with it."""
        self._lane(key).release(key, owner)

    def load(self) -> tuple[int, int]:
        """Return how many downloads and copies wait for a slot, and how many have one."""
        return self._bulk.load()

    @property
    def busy(self) -> bool:
        """Whether any is moving bytes; a look moves none."""
        return self._bulk.busy

    def close(self, deadline_s: float) -> bool:
        """Stop everything, resumable, and wait at most so many seconds each; return whether all threads ended."""
        looks = self._looks.close(deadline_s)
        return self._bulk.close(deadline_s) and looks

    def _lane(self, key: str) -> EmbeddedTransfers:
        return self._looks if key.startswith(LOOK) else self._bulk
