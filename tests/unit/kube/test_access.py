"""Kubeconfig files, service accounts and exec plugins, and what becomes of broken ones."""

import base64
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller import errors
from controller.kube import access, exec_plugin


def write(folder: Path, user: dict[str, Any], cluster: dict[str, Any] | None = None, **context: str) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [
            {"name": "other", "context": {"cluster": "x", "user": "x"}},
            {"name": "c", "context": {"cluster": "k", "user": "u", **context}},
        ],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


def script(folder: Path, body: str) -> Path:
    path = folder / "plugin"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_current_context_counts(tmp_path: Path) -> None:
    found = access.from_kubeconfig(write(tmp_path, {"token": "secret"}, namespace="prod"))
    assert (found.server, found.namespace, found.verify) == ("https://127.0.0.1:6443", "prod", True)
    assert found.login().token == "secret"
    assert "secret" not in repr(found.login()) + repr(found)


def test_data_and_files_are_both_understood(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"CA")
    user = {"client-certificate-data": base64.b64encode(b"CERT").decode(), "client-key-data": "S0VZ"}
    found = access.from_kubeconfig(write(tmp_path, user, {"certificate-authority": "ca.pem"}))
    assert found.authority == b"CA"
    assert (found.login().certificate, found.login().key) == (b"CERT", b"KEY")


def test_a_token_file_is_read_at_each_login(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    found = access.from_kubeconfig(write(tmp_path, {"tokenFile": "token"}))
    assert found.login().token == "one"
    (tmp_path / "token").write_text("two\n")
    assert found.login().token == "two"
    (tmp_path / "token").unlink()
    with pytest.raises(errors.ClusterUnavailable, match="cannot be read"):
        found.login()


def test_the_password_goes_with_the_name(tmp_path: Path) -> None:
    found = access.from_kubeconfig(write(tmp_path, {"username": "a", "password": "b:c"}))
    assert found.login().basic == "a:b:c"


@pytest.mark.parametrize(
    ("user", "cluster", "says"),
    [
        ({"auth-provider": {}}, {}, "use exec"),
        ({"token": "t"}, {"proxy-url": "socks5://user:hunter2@p"}, r"config: proxy-url: only http://.*, not https and"),
        ({"token": "t"}, {"proxy-url": "https://user:hunter2@p"}, r"config: proxy-url: only http://.*, not https and"),
        ({"token": "t"}, {"proxy-url": "p.example:3128"}, "config: proxy-url: only http://"),
        ({"token": "t"}, {"proxy-url": "http://user:hunter2@p:none"}, "config: proxy-url is no URL"),
        ({"token": "t"}, {"server": "http://127.0.0.1", "proxy-url": "http://p"}, "only a server of https:// is asked"),
        ({"client-certificate": "missing.pem"}, {}, "No such file"),
        ({"client-certificate-data": "!"}, {}, "not a kubeconfig that can be used"),
    ],
)
def test_what_is_not_understood_is_refused(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], says: str
) -> None:
    with pytest.raises(errors.Usage, match=says) as caught:
        access.from_kubeconfig(write(tmp_path, user, cluster))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "proxy", "authorization"),
    [
        ("", "", ""),
        ("http://proxy.example", "http://proxy.example:80", ""),
        ("http://gold:hunter%2F2@[::1]:3128/", "http://[::1]:3128", "Basic Z29sZDpodW50ZXIvMg=="),
    ],
)
def test_a_proxy_and_a_name_of_the_server_are_understood(
    tmp_path: Path, url: str, proxy: str, authorization: str
) -> None:
    cluster = {"proxy-url": url, "tls-server-name": "kubernetes"}
    found = access.from_kubeconfig(write(tmp_path, {"token": "t"}, cluster))
    assert (found.route.proxy, found.route.authorization, found.route.server_name) == (
        proxy,
        authorization,
        "kubernetes",
    )
    assert authorization == "" or authorization not in repr(found)


@pytest.mark.parametrize("text", ["", "[]", "current-context: c", "a: [", "current-context: c\ncontexts: []"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(errors.Usage, match="config"):
        access.from_kubeconfig(tmp_path / "config")


def test_the_order_of_places_is_flag_variable_pod_home(tmp_path: Path) -> None:
    config = write(tmp_path, {"token": "t"})
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(config.read_text())
    assert access.find(config, {}).server
    assert access.find(None, {"KUBECONFIG": f"{tmp_path}/absent:{config}"}).server
    assert access.find(None, {"HOME": str(tmp_path)}).server
    with pytest.raises(errors.Usage, match="no service account"):
        access.find(None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "HOME": str(tmp_path)})
    with pytest.raises(errors.Usage, match="no API server is named"):
        access.find(None, {"HOME": "/nonexistent"})
    with pytest.raises(errors.Usage, match="has no context 'else'"):
        access.find(None, {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, context="else")


def test_of_several_files_the_first_that_has_a_name_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (second / "token").write_text("of the second")
    write(second, {"tokenFile": "token"}, {"server": "https://second:1"}, namespace="two")
    (first / "config").write_text(
        yaml.safe_dump({"contexts": [{"name": "mine", "context": {"cluster": "k", "user": "u", "namespace": "one"}}]})
    )
    both = {"KUBECONFIG": f"{first / 'config'}:{tmp_path / 'absent'}:{second / 'config'}"}
    found = access.find(None, both)
    assert (found.server, found.namespace, found.login().token) == ("https://second:1", "two", "of the second")
    assert access.find(None, both, context="mine").namespace == "one"


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    config = write(tmp_path, {"token": "t"})
    with pytest.raises(errors.Usage, match=r"has no context 'nope'; known: other, c"):
        access.from_kubeconfig(config, context="nope")
    config.write_text(config.read_text().replace("current-context: c\n", ""))
    with pytest.raises(errors.Usage, match=r"no current-context: name one with --context \(other, c\)"):
        access.from_kubeconfig(config)


def test_certificates_that_are_none_are_told_without_what_is_in_them(tmp_path: Path) -> None:
    user = {"client-certificate-data": base64.b64encode(b"secret CERT").decode(), "client-key-data": "S0VZ"}
    found = access.from_kubeconfig(write(tmp_path, user))
    with pytest.raises(errors.ClusterUnavailable, match="cannot be used") as caught:
        found.tls(found.login())
    assert "secret" not in str(caught.value)


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    for name, text in {"ca.crt": "CA", "namespace": "images\n", "token": "t1"}.items():
        (tmp_path / name).write_text(text)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = access.in_cluster(environ, tmp_path)
    assert (found.server, found.namespace, found.authority) == ("https://[fd00::1]:443", "images", b"CA")
    assert found.login().rotates


def test_an_exec_plugin_is_asked_as_kubectl_asks(tmp_path: Path) -> None:
    credential = {"kind": "ExecCredential", "status": {"token": "made", "expirationTimestamp": "2026-01-01T00:00:00Z"}}
    plugin = script(
        tmp_path, f"echo \"$KUBERNETES_EXEC_INFO $EXTRA $1\" > {tmp_path}/asked; echo '{json.dumps(credential)}'"
    )
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": f"./{plugin.name}",
            "args": ["first"],
            "env": [{"name": "EXTRA", "value": "more"}],
        }
    }
    login = access.from_kubeconfig(write(tmp_path, user)).login()
    assert (login.token, login.expires) == ("made", datetime(2026, 1, 1, tzinfo=UTC))
    asked = (tmp_path / "asked").read_text()
    assert asked.endswith(" more first\n")
    assert '"kind": "ExecCredential"' in asked


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo denied >&2; exit 3", "exit 3: denied"),
        ("echo not json", "printed no ExecCredential"),
        ("echo '{}'", "printed no ExecCredential"),
    ],
)
def test_an_exec_plugin_that_fails_is_tried_again_later(tmp_path: Path, body: str, says: str) -> None:
    plugin = exec_plugin.Plugin((str(script(tmp_path, body)),), {}, "client.authentication.k8s.io/v1")
    with pytest.raises(errors.ClusterUnavailable, match=says):
        exec_plugin.run(plugin)


def test_an_exec_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    plugin = exec_plugin.Plugin((str(tmp_path / "absent"),), {}, "client.authentication.k8s.io/v1")
    with pytest.raises(errors.ClusterUnavailable, match="absent"):
        exec_plugin.run(plugin)
