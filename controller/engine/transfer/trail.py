"""The urls of one transfer: which is asked next, and what became of those before."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

import structlog

from controller import errors
from controller.engine.transfer.berths import failure_of
from controller.model.delivery import Skipped
from controller.model.transfer import Failure, TransferRequest
from controller.model.url import SourceUrl
from controller.plan.source import OTHER_BYTES, fingerprint
from controller.reasons import Reason

log = structlog.get_logger()

_REFUSALS = (Reason.POLICY_DENIED, Reason.PROTOCOL_ERROR, Reason.SOURCE_NOT_FOUND)
_ABOUT_A_SOURCE = (
    *(Reason.SOURCE_UNREACHABLE, Reason.QUEUED),
    *(Reason.AUTHENTICATION_FAILED, *OTHER_BYTES, *_REFUSALS),
)
"""What another source may do better; what matters most first. A changed Secret mends AuthenticationFailed."""
MAX_MESSAGE = 2048
"""Characters of what the status says about a url that was skipped."""
MIXED = "mixed"
"""The `url_id` of a partial whose bytes came from several urls."""


class Trail:
    """Walks from `url` along `mirrors`. One thread uses it.

    Mirrors are only asked where a sha256 or sha512 says what their bytes must be (`pinned`).
    """

    def __init__(self, request: TransferRequest) -> None:
        self._left = deque(dict.fromkeys((request.url, *request.mirrors)))
        self._key = request.key
        self._failed: list[tuple[SourceUrl, Failure]] = []
        self.pinned = False
        self.scrub: Callable[[str], str] = str
        """Takes out of a message what the Secret of the transfer says."""
        self.from_zero = False
        """What was fetched before does not count: bytes of several urls were put together, and the whole was wrong."""
        self.mixed = False
        """Whether the bytes of this pass came from several urls, those of earlier tries included."""
        self.again = False
        """The source is to be asked in another pass: it does not go on where this one is."""
        self.fetched_bytes = 0
        """In passes that are over."""
        self.durable_before: int | None = None
        """How far tries before this one got."""
        self.durable = 0

    @property
    def url(self) -> SourceUrl:
        """The one to ask now."""
        return self._left[0]

    @property
    def url_id(self) -> str:
        """Name it without showing its query."""
        return fingerprint(self.url.text)

    @property
    def on_mirror(self) -> bool:
        """Whether it is a mirror."""
        return bool(self._failed)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Those that were asked in vain."""
        return tuple(Skipped(url.redacted, one.reason, one.message[:MAX_MESSAGE]) for url, one in self._failed)

    def after(self, error: errors.GoldmasterError, *, asked: bool, final: bool) -> Failure | None:
        """Take down how a pass ended; None: another one may end better, begin it.

        `asked`: the error is about the source. `final`: no source does better, as the bytes were the promised ones, or
        nobody waits any more.
        """
        failure = self._told(error)
        if not asked or final or failure.reason not in _ABOUT_A_SOURCE:
            return failure
        if self.again:
            self.again = False
            return None
        if self.mixed and not self.from_zero and failure.reason in OTHER_BYTES:
            log.warning("transfer.mixed", key=self._key, url=self.url.redacted, message=failure.message)
            self.from_zero = True
            return None
        if self._moves_on(failure):
            return None
        self._failed.append((self.url, failure))
        return self._verdict()

    def moves_on(self, error: errors.GoldmasterError) -> bool:
        """Whether another source is asked in place of the one that failed; `url` is that one then."""
        failure = self._told(error)
        return failure.reason in _ABOUT_A_SOURCE and self._moves_on(failure)

    def _told(self, error: errors.GoldmasterError) -> Failure:
        failure = failure_of(error)
        return replace(failure, message=self.scrub(failure.message))

    def _moves_on(self, failure: Failure) -> bool:
        if len(self._left) == 1 or not self.pinned:
            return False
        self.from_zero = False
        self._failed.append((self.url, failure))
        tell = log.info if failure.reason is Reason.QUEUED else log.warning  # it was not even asked
        tell(
            "transfer.source_skipped",
            key=self._key,
            url=self.url.redacted,
            reason=failure.reason,
            message=failure.message,
        )
        self._left.popleft()
        return True

    def _verdict(self) -> Failure:
        """Return one failure for all: terminal only if each is, what matters most first."""
        unasked = ""
        if len(self._left) > 1:
            unasked = "; mirrors are not asked, as the checksum list names no sha256 or sha512"
        if len(self._failed) == 1:
            _, failure = self._failed[0]
            return Failure(failure.reason, failure.message + unasked, failure.terminal, failure.retry_after)
        ranked = sorted(self._failed, key=lambda one: (one[1].terminal, _ABOUT_A_SOURCE.index(one[1].reason)))
        first = ranked[0][1]
        told = "; ".join(f"{url.redacted}: {failure.message}" for url, failure in ranked)
        return Failure(first.reason, told, first.terminal, _soonest(failure for _, failure in ranked))


def _soonest(failures: Iterable[Failure]) -> timedelta | None:
    """Return when the first of those that may recover may be asked again; None: at any time."""
    waits = [failure.retry_after for failure in failures if not failure.terminal]
    known = [wait for wait in waits if wait is not None]
    return min(known) if known and len(known) == len(waits) else None
