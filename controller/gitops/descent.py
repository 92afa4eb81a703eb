"""What was verified once is not gone back behind: a signature says who wrote a commit, not that it is the latest.

A server that is broken, or broken into, can show an older commit that was signed. So the last commit whose signature
was good is remembered, and the next one must have it in its history, which its hash proves. What lies between may be
unsigned: who signs a commit vouches for the whole tree that it has.
"""

from controller import errors
from controller.gitops.followed import Verified
from controller.gitops.git_ports import Repository
from controller.gitops.state import State
from controller.model.git import Tip
from controller.ports import StopToken
from controller.settings import GitSettings


class Descent:
    """Judges the tips of one branch, and remembers. One thread uses it."""

    def __init__(self, repository: Repository, settings: GitSettings, state: State) -> None:
        self._repository = repository
        self._settings = settings
        self._state = state
        # as the settings name it: what the server calls its HEAD is the server's to say
        self._name = settings.url.text, settings.branch
        self._refused: tuple[Tip, Verified] | None = None

    def check(self, tip: Tip, stop: StopToken) -> None:
        """Take a tip whose signature is good, and remember it.

        Raises:
            SourceChanged: it does not descend from the one that was remembered, and nobody accepted that. Others as
            `Repository.descends`.

        """
        before = self._state.verified(*self._name)
        if before is None:
            self._state.write_verified(*self._name, Verified(tip.commit))
        elif before.commit != tip.commit:
            self._state.write_verified(*self._name, self._next(tip, before, stop))

    def _next(self, tip: Tip, before: Verified, stop: StopToken) -> Verified:
        if self._refused != (tip, before) and self._repository.descends(tip, before.commit, stop):
            return Verified(tip.commit, before.accepted)
        self._refused = tip, before  # not searched for again at each look
        if self._settings.accepted == tip.commit != before.accepted:
            return Verified(tip.commit, tip.commit)
        again = " (that was done once, and is not done twice)" if before.accepted == tip.commit else ""
        raise errors.SourceChanged(
            f"commit {tip.commit} does not descend from {before.commit}, the last one whose signature was good: the "
            "branch was rewritten, or the server shows another history than it did. Where somebody meant that, "
            f"--accept-commit {tip.commit} takes it, once{again}"
        )
