"""The flags on how sources are asked: what they become, and what is refused without being repeated."""

from pathlib import Path

import click
import pytest

from controller.cli import main
from controller.cli.source_options import Asking, asking
from controller.model.url import SourceUrl
from controller.settings import PolitenessSettings, ProxySettings
from tests.unit.cli.conftest import Call


def asked(*arguments: str) -> Asking:
    """Return what a verb with these flags gets."""
    got: list[Asking] = []

    @click.command
    @asking
    def verb(asking: Asking) -> None:
        got.append(asking)

    verb.main(list(arguments), standalone_mode=False)
    return got[0]


def test_unsaid_it_is_what_the_settings_say() -> None:
    assert asked() == Asking(PolitenessSettings(), ProxySettings())


def test_everything_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "proxy"
    file.touch()
    monkeypatch.setenv("GOLDMASTER_HTTPS_PROXY", "http://[::1]:8080/")
    monkeypatch.setenv("GOLDMASTER_NO_PROXY", ".Corp.Example 10.0.0.0/8 192.0.2.7 h.")
    found = asked(
        "--origin-connections=2", "--origin-requests=60", "--http-proxy=http://p.example:3128",
        f"--proxy-credentials={file}", "--proxy-resolves",
    )  # fmt: skip
    assert found.politeness == PolitenessSettings(2, 60)
    assert found.proxies == ProxySettings(
        SourceUrl.parse("http://p.example:3128/"),
        SourceUrl.parse("http://[::1]:8080/"),
        ("corp.example", "10.0.0.0/8", "192.0.2.7/32", "h"),
        file,
        resolves=True,
    )


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--http-proxy=http://gold:hunter2@p.example", "use --proxy-credentials FILE"),
        ("--https-proxy=https://p.example", "it is spoken to in plain HTTP"),
        ("--http-proxy=p.example:3128", "a proxy is written http://HOST:PORT"),
        ("--http-proxy=http://p.example/path", "a proxy is written http://HOST:PORT"),
        ("--http-proxy=socks5://p.example", "a proxy is written http://HOST:PORT"),
        ("--no-proxy=10.0.0.1/8", "has host bits set"),
        ("--no-proxy=*", "is neither a host name"),
        ("--no-proxy=a b", "is neither a host name"),
        ("--no-proxy=h:80", "is neither a host name"),
        ("--no-proxy=.", "is neither a host name"),
        ("--no-proxy=h.example", "need --http-proxy or --https-proxy"),
        ("--proxy-resolves", "need --http-proxy or --https-proxy"),
        ("--origin-connections=0", "range"),
        ("--origin-requests=9", "range"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "apply"])
def test_what_is_wrong_is_named(call: Call, tmp_path: Path, verb: str, flag: str, said: str) -> None:
    answer = call(verb, tmp_path, "--state", tmp_path / "state", flag)
    assert answer.code == 2
    assert said in answer.err
    assert "hunter2" not in answer.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("verb", ["run", "apply", "operator"])
def test_the_verbs_that_ask_sources_have_the_flags(verb: str) -> None:
    command = main.cli.get_command(click.Context(main.cli), verb)
    assert command is not None
    names = {parameter.name for parameter in command.params}
    assert {"origin_connections", "origin_requests", "http_proxy", "https_proxy", "no_proxy"} <= names
