"""How git may talk to one server: the address that was checked and no other, what the Secret says and nothing else.

git and ssh look names up themselves. So that the address they connect to is one that the source policy allows, the name
is looked up and judged here, and they are told the answer: libcurl by CURLOPT_RESOLVE (git 2.37), ssh by HostName.
Redirects are off, which with git also turns off the alternates that an old-fashioned server could point elsewhere with.
Through a proxy http(s) goes as for sources: the name is judged here, and looked up once more there. ssh goes directly.
"""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller import errors
from controller.adapters.git.process import Failed
from controller.adapters.sources.address_policy import AddressPolicy
from controller.adapters.sources.proxy import RESOLVES_HINT, Proxies, Proxy
from controller.adapters.sources.resolver import Endpoint, Resolve, resolve_within, system_resolve
from controller.model.git_secret import GitCredentials
from controller.model.git_url import GitUrl
from controller.model.url import SourceUrl
from controller.ports import Clock, StopToken

DNS_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 15
MAX_ADDRESSES = 64
KEYS_PREFIX = "keys-"
"""Begins the names of the directories that hold a secret for as long as one run of git takes."""
_SLOW_BYTES_PER_S, _SLOW_S = 1000, 30


@dataclass(frozen=True, slots=True)
class Way:
    """What one run of git needs to reach the server. `repr` shows no setting: one may hold a secret."""

    protocol: str
    settings: tuple[tuple[str, str], ...] = field(repr=False)
    environment: dict[str, str] = field(default_factory=dict, repr=False)


class Remote:
    """One server. `folder`: where secrets lie as files, readable by us alone, while git runs."""

    def __init__(
        self,
        url: GitUrl,
        folder: Path,
        policy: AddressPolicy,
        allowed_paths: Sequence[Path],
        clock: Clock,
        resolve: Resolve = system_resolve,
        proxies: Proxies | None = None,
    ) -> None:
        self.url = url
        self._folder = folder
        self._policy = policy
        self._allowed = tuple(os.path.realpath(path) for path in allowed_paths)
        self._clock = clock
        self._resolve = resolve
        self._proxies = proxies or Proxies()
        self._turn = 0

    def tidy(self) -> None:
        """Remove what a killed process left of secrets."""
        for left in self._folder.glob(f"{KEYS_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def way(self, credentials: GitCredentials | None, stop: StopToken) -> Iterator[Way]:
        """Look the server up, judge its address, and yield how to reach it.

        Raises:
            PolicyDenied: an address, or the path, is not allowed. SourceUnreachable: no such name. Interrupted.
            DependencyNotReady: the credentials of the proxy cannot be read.

        """
        told = credentials or GitCredentials()
        if self.url.scheme == "file":
            self._check_path()
            yield Way("file", ())
            return
        proxy = None if self.url.scheme == "ssh" else self._proxies.of(SourceUrl.parse(self.url.text))
        endpoints = self._endpoints(stop) if proxy is None else self._judge_for_proxy(stop)
        keys = Path(tempfile.mkdtemp(prefix=KEYS_PREFIX, dir=self._folder))
        try:
            if self.url.scheme == "ssh":
                yield self._ssh(endpoints, told, keys)
            else:
                yield Way(self.url.scheme, tuple(self._http(endpoints, told, keys, proxy)))
        except Failed as exc:
            raise exc if proxy is None else Failed(exc.status, proxy.scrub(exc.said)) from None
        finally:
            shutil.rmtree(keys, ignore_errors=True)

    def _check_path(self) -> None:
        real = os.path.realpath(self.url.path)
        if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in self._allowed):
            raise errors.PolicyDenied(
                f"the source policy does not allow {self.url.path}: --allow-path with its directory would open it"
            )

    def _endpoints(self, stop: StopToken) -> list[Endpoint]:
        found = resolve_within(
            self._resolve,
            self.url.host,
            self.url.port,
            timeout_s=DNS_TIMEOUT_S,
            tick_s=0.1,
            clock=self._clock,
            stop=stop,
        )
        if len(found) > MAX_ADDRESSES:
            raise errors.PolicyDenied(f"{self.url.host} has {len(found)} addresses, more than anybody would check")
        for endpoint in found:
            self._policy.check(endpoint.address, self.url.host)
        return found

    def _judge_for_proxy(self, stop: StopToken) -> list[Endpoint]:
        """Judge as for a source: the proxy looks the name up again, or, where that is set, alone."""
        if self._proxies.judge(self.url.host):
            return []
        try:
            return self._endpoints(stop)
        except errors.SourceUnreachable as error:
            error.args = (f"{error}; {RESOLVES_HINT}",)
            raise

    def _http(
        self, endpoints: Sequence[Endpoint], told: GitCredentials, keys: Path, proxy: Proxy | None
    ) -> Iterator[tuple[str, str]]:
        if proxy is None:
            addresses = ",".join(_bracketed(address) for address in dict.fromkeys(end.address for end in endpoints))
            yield "http.curloptResolve", f"{self.url.host}:{self.url.port}:{addresses}"
        yield "http.proxy", "" if proxy is None else proxy.address
        yield "http.proxyAuthMethod", "basic"
        yield "http.followRedirects", "false"
        yield "http.sslVerify", "true"
        yield "http.lowSpeedLimit", str(_SLOW_BYTES_PER_S)
        yield "http.lowSpeedTime", str(_SLOW_S)
        yield "credential.helper", ""
        yield "http.emptyAuth", "false"  # else who asks for Kerberos or NTLM gets what this machine is logged in with
        if told.http is None:
            return
        for name, value in told.http.headers:
            yield "http.extraHeader", f"{name}: {value}"
        for setting, name, content in (
            ("http.sslCAInfo", "ca.crt", told.http.ca_pem and told.http.ca_pem.encode()),
            ("http.sslCert", "tls.crt", told.http.certificate_pem),
            ("http.sslKey", "tls.key", told.http.key_pem),
        ):
            if content:
                yield setting, _written(keys / name, content)

    def _ssh(self, endpoints: Sequence[Endpoint], told: GitCredentials, keys: Path) -> Way:
        """Try another of its addresses each time: ssh is told one."""
        self._turn += 1
        endpoint = endpoints[self._turn % len(endpoints)]
        # a server that is known at another port stands under that in known_hosts, and an alias is looked up as it is
        alias = self.url.host if self.url.port == 22 else f"[{self.url.host}]:{self.url.port}"
        options = {
            "HostName": endpoint.address,
            "HostKeyAlias": alias,
            "CheckHostIP": "no",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _written(keys / "known_hosts", told.known_hosts or b""),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityFile": _written(keys / "identity", told.identity) if told.identity else "none",
            "IdentityAgent": "none",
            "CertificateFile": "none",
            "PreferredAuthentications": "publickey",
            "BatchMode": "yes",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "PermitLocalCommand": "no",
            "ProxyCommand": "none",
            "ControlMaster": "no",
            "ControlPath": "none",
            "ConnectTimeout": str(CONNECT_TIMEOUT_S),
            "ServerAliveInterval": "15",
            "ServerAliveCountMax": "2",
        }
        command = ["ssh", "-F", "none", "-T", *(f"-o{name}={_quoted(value)}" for name, value in options.items())]
        return Way("ssh", (), {"GIT_SSH_COMMAND": shlex.join(command), "GIT_SSH_VARIANT": "ssh"})


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _quoted(value: str) -> str:
    """Quote a value as ssh_config(5) wants it where it has blanks; a path of ours has no quotes in it."""
    return f'"{value}"' if " " in value else value


def _written(path: Path, content: bytes) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    return str(path.absolute())
