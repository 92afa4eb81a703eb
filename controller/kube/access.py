"""Where the API server is and who we are to it: from a kubeconfig file, or from the Pod's service account.

Understood of a kubeconfig: certificate-authority(-data), insecure-skip-tls-verify, tls-server-name, proxy-url (http);
of a user token, tokenFile, client-certificate(-data), client-key(-data), username and password, and exec plugins. Not:
other proxies, and the auth-provider that Kubernetes removed in 1.26; a kubeconfig with one is refused, not half
understood.
"""

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from controller import errors
from controller.kube import exec_plugin, route
from controller.kube.exec_plugin import Login
from controller.kube.route import Route

Files = Sequence[tuple[Path, Mapping[str, Any]]]
"""Parsed kubeconfig files, each with its folder."""
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Access:
    """A server, how it is recognised, and what makes our credentials. `login` may run a program or read a file."""

    server: str
    """https://host:port, without a trailing slash."""
    login: Callable[[], Login] = field(repr=False)
    """Return fresh credentials; called at start, when they expire, and after a 401. Raises ClusterUnavailable."""
    authority: bytes | None = None
    """PEM of the certificates that sign the server's; None: the system's."""
    verify: bool = True
    namespace: str = "default"
    """Of the current context, or of the Pod."""
    route: Route = field(default_factory=Route)

    def tls(self, login: Login) -> ssl.SSLContext:
        """Return what a connection needs to trust the server and to show our certificate, if we have one.

        Raises:
            ClusterUnavailable: a certificate or key is none.

        """
        try:
            context = ssl.create_default_context(cadata=self.authority.decode() if self.authority else None)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if login.certificate and login.key:
                with tempfile.NamedTemporaryFile() as file:  # OpenSSL takes certificates of its own from files only
                    file.write(login.certificate + b"\n" + login.key)
                    file.flush()
                    context.load_cert_chain(file.name)
        except (ssl.SSLError, ValueError) as exc:
            raise errors.ClusterUnavailable(
                f"{self.server}: a certificate or key of ours cannot be used: {type(exc).__name__}"
            ) from exc
        return context


def find(kubeconfig: Path | None, environ: Mapping[str, str], context: str | None = None) -> Access:
    """Return the access that `--kubeconfig` names, else KUBECONFIG, else the Pod's own, else ~/.kube/config.

    `context`: which one of a kubeconfig, in place of the current one; a Pod's own access has none.

    Raises:
        Usage: there is none, or it cannot be understood; the message says where it looked.

    """
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig, context=context)
    if named := [Path(name) for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]:
        return from_kubeconfig(*([path for path in named if path.exists()] or named[:1]), context=context)
    if environ.get("KUBERNETES_SERVICE_HOST") and context is None:
        return in_cluster(environ)
    usual = Path(environ.get("HOME", "/")) / ".kube" / "config"
    if usual.exists():
        return from_kubeconfig(usual, context=context)
    raise errors.Usage(f"no API server is named: no --kubeconfig, no KUBECONFIG, not in a Pod, no {usual}")


def in_cluster(environ: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access of a Pod's service account. Its token is read anew at each login, as the kubelet rotates it.

    Raises:
        Usage: the service account is not mounted.

    """
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        authority = (folder / "ca.crt").read_bytes()
        namespace = (folder / "namespace").read_text().strip()
    except OSError as exc:
        raise errors.Usage(f"this Pod has no service account mounted: {exc}") from exc
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(server, _from_file(folder / "token"), authority, namespace=namespace)


def from_kubeconfig(*paths: Path, context: str | None = None) -> Access:
    """Return what a context of kubeconfig files says; of each name the first file that has it counts, as for kubectl.

    Raises:
        Usage: it cannot be read or understood; never shows what is in it.

    """
    path = paths[0]
    try:
        files = []
        for path in paths:
            files.append((path.parent, yaml.safe_load(path.read_bytes())))
        wanted = context or next((name for _, document in files if (name := document.get("current-context"))), None)
        where = _context(files, wanted, paths)
        folder, cluster = _named(files, "clusters", "cluster", where["cluster"])
        server = str(cluster["server"]).rstrip("/")
        authority = _bytes(cluster, "certificate-authority", folder)
        folder, user = _named(files, "users", "user", where["user"])
        login = _login(user, folder)
    except OSError as exc:
        raise errors.Usage(f"{exc.filename or path}: {exc.strerror}") from exc
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, binascii.Error) as exc:
        raise errors.Usage(f"{path} is not a kubeconfig that can be used: {type(exc).__name__} {_name(exc)}") from exc
    if not server.startswith(("https://", "http://")):
        raise errors.Usage(f"{path}: the server of cluster {where['cluster']!r} is no http(s) URL")
    try:
        way = route.parse(cluster)
    except errors.Usage as exc:
        raise errors.Usage(f"{path}: {exc}") from None
    return Access(
        server,
        login,
        authority,
        verify=not cluster.get("insecure-skip-tls-verify", False),
        namespace=where.get("namespace") or "default",
        route=way,
    )


def _context(files: Files, wanted: str | None, paths: Sequence[Path]) -> dict[str, Any]:
    names = [item["name"] for _, document in files for item in document.get("contexts") or ()]
    shown = ", ".join(map(str, paths))
    if wanted is None:
        raise errors.Usage(f"{shown} has no current-context: name one with --context ({', '.join(names) or 'none'})")
    if wanted not in names:
        raise errors.Usage(f"{shown} has no context {wanted!r}; known: {', '.join(names) or 'none'}")
    return _named(files, "contexts", "context", wanted)[1]


def _name(exc: Exception) -> str:
    return str(exc) if isinstance(exc, KeyError) else ""


def _named(files: Files, plural: str, singular: str, name: str) -> tuple[Path, dict[str, Any]]:
    """Return an entry, and the folder of the file that it stands in: its paths are relative to that."""
    for folder, document in files:
        for item in document.get(plural) or ():
            if item["name"] == name:
                return folder, item[singular]
    raise KeyError(f"{singular} {name}")


def _bytes(holder: Mapping[str, Any], name: str, folder: Path) -> bytes | None:
    """Return NAME-data decoded, else the content of the file NAME, else None."""
    if holder.get(f"{name}-data"):
        return base64.b64decode(holder[f"{name}-data"], validate=True)
    return (folder / holder[name]).read_bytes() if holder.get(name) else None


def _login(user: Mapping[str, Any], folder: Path) -> Callable[[], Login]:
    if "auth-provider" in user:
        raise KeyError("auth-provider, which Kubernetes removed: use exec")
    if user.get("exec"):
        plugin = exec_plugin.parse(user["exec"], folder)
        return lambda: exec_plugin.run(plugin)
    if user.get("tokenFile"):
        return _from_file(folder / user["tokenFile"])
    fixed = Login(
        token=user.get("token"),
        basic=f"{user['username']}:{user['password']}" if user.get("username") else None,
        certificate=_bytes(user, "client-certificate", folder),
        key=_bytes(user, "client-key", folder),
    )
    return lambda: fixed


def _from_file(path: Path) -> Callable[[], Login]:
    def login() -> Login:
        try:
            return Login(token=path.read_text().strip(), rotates=True)
        except OSError as exc:
            raise errors.ClusterUnavailable(f"the token {path} cannot be read: {exc.strerror}") from exc

    return login
