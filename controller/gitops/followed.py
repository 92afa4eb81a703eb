"""What is known of the repository that is followed: kept in the state, and shown by `get` and `describe`."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Followed:
    """How the repository stood when it was looked at last."""

    url: str
    revision: str | None = None
    """The commit in force: the last good one."""
    trouble: str = ""
    """Why the newest commit is not in force, or is not known."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `text` wrote; what a newer version may have written besides is passed over."""
        found: dict[str, Any] = json.loads(text)
        return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})

    @property
    def text(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self))

    @property
    def shown(self) -> str:
        """One line for people about what is wrong; empty where nothing is."""
        if not self.trouble:
            return ""
        stays = f"{self.revision} stays in force" if self.revision else "nothing of it is in force yet"
        return f"{self.url}: {self.trouble}; {stays}"


@dataclass(frozen=True, slots=True)
class Verified:
    """The last commit of a branch whose signature was good."""

    commit: str
    accepted: str | None = None
    """The commit that a person took last although it did not descend from the one before. It is not taken twice: who
    leaves the flag in a unit file has not asked for what a server may show a year later."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `text` wrote; what a newer version may have written besides is passed over."""
        found: dict[str, Any] = json.loads(text)
        return cls(found["commit"], found.get("accepted"))

    @property
    def text(self) -> str:
        """The record as JSON."""
        return json.dumps(asdict(self))
