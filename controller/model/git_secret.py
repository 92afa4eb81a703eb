"""What a Git server is told: a Secret of type `goldmaster.dev/source`, of which ssh knows other keys than http."""

from contextlib import suppress
from dataclasses import dataclass, field

from controller import errors
from controller.model.git_url import GitUrl
from controller.model.secret import SOURCE_TYPE, Credentials, Secret

_SSH = "ssh://"
_KNOWN = frozenset({"origins", "identity", "known_hosts"})


@dataclass(frozen=True, slots=True)
class GitCredentials:
    """For one URL. Plain data; `repr` shows nothing of it."""

    http: Credentials | None = field(default=None, repr=False)
    identity: bytes | None = field(default=None, repr=False)
    """The private key for ssh, as ssh-keygen writes it."""
    known_hosts: bytes | None = field(default=None, repr=False)
    """Whom to trust over ssh: lines as in ~/.ssh/known_hosts."""

    def scrub(self, text: str) -> str:
        """Return a text in which no value stands, whoever wrote it."""
        return text if self.http is None else self.http.scrub(text)


def credentials_for(url: GitUrl, secret: Secret) -> GitCredentials:
    """Read a Secret for a repository.

    Raises:
        PolicyDenied: it is of another type, or its owner lets it go to other origins only.
        DependencyNotReady: something in it is missing or malformed; names the key, never the value.

    """
    if url.scheme == "file":
        raise errors.PolicyDenied(f"{secret.shown} is not needed for a repository on this machine")
    if url.scheme != "ssh":
        found = Credentials.of(secret)
        _check_origin(url, found.origins, secret)
        return GitCredentials(found)
    if secret.type != SOURCE_TYPE:
        raise errors.PolicyDenied(f"{secret.shown} is not of type {SOURCE_TYPE}: it was not made for sources")
    if unknown := sorted(secret.data.keys() - _KNOWN):
        raise errors.DependencyNotReady(f"{secret.shown}: {unknown[0][:80]} is not a key that ssh knows")
    _check_origin(url, _ssh_origins(secret), secret)
    for key in ("identity", "known_hosts"):
        if not secret.data.get(key, b"").strip():
            raise errors.DependencyNotReady(f"{secret.shown}: {key} is missing, which ssh needs")
    # ssh refuses a key whose last line does not end
    return GitCredentials(None, *(secret.data[key].rstrip() + b"\n" for key in ("identity", "known_hosts")))


def _check_origin(url: GitUrl, origins: frozenset[str], secret: Secret) -> None:
    if url.origin not in origins:
        known = " ".join(sorted(origins))
        raise errors.PolicyDenied(f"{secret.shown} may not go to {url.origin}: its origins are {known}")


def _ssh_origins(secret: Secret) -> frozenset[str]:
    text = secret.data.get("origins", b"").decode(errors="replace")
    if not text.split():
        raise errors.PolicyDenied(f"{secret.shown} has no origins: its owner lets it go nowhere")
    return frozenset(_ssh_origin(one, secret) for one in text.split())


def _ssh_origin(text: str, secret: Secret) -> str:
    """Read `ssh://host[:port]`: an origin names no user and no path."""
    place = text.removeprefix(_SSH).rstrip("/")
    if text.startswith(_SSH) and "@" not in place and "/" not in place:
        with suppress(errors.InvalidSpec):
            return GitUrl.parse(f"{_SSH}git@{place}/x").origin
    why = "is a list of ssh://host[:port], separated by blanks, for a repository over ssh"
    raise errors.DependencyNotReady(f"{secret.shown}: origins {why}")
