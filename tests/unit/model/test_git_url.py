"""URLs of repositories, branches and paths: canonical or refused, never what git takes for an option or command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import errors
from controller.model.git_url import GitUrl, check_below, check_branch


@pytest.mark.parametrize(
    ("text", "canonical", "origin"),
    [
        ("https://Git.Example/team/repo.git", "https://git.example/team/repo.git", "https://git.example:443"),
        ("HTTP://10.0.0.1:8080/r", "http://10.0.0.1:8080/r", "http://10.0.0.1:8080"),
        ("https://[2001:db8::1]/r", "https://[2001:db8::1]/r", "https://[2001:db8::1]:443"),
        ("ssh://git@host.example/srv/r.git", "ssh://git@host.example/srv/r.git", "ssh://host.example:22"),
        ("ssh://git@host.example:22/r", "ssh://git@host.example/r", "ssh://host.example:22"),
        ("ssh://git@host.example:443/r", "ssh://git@host.example:443/r", "ssh://host.example:443"),
        ("git@GitHub.example:org/repo.git", "git@github.example:org/repo.git", "ssh://github.example:22"),
        ("git@host.example:/srv/r.git", "ssh://git@host.example/srv/r.git", "ssh://host.example:22"),
        ("git@[2001:db8::1]:r", "git@[2001:db8::1]:r", "ssh://[2001:db8::1]:22"),
        ("ssh://git@host.example/~/r.git", "ssh://git@host.example/~/r.git", "ssh://host.example:22"),
        ("/srv/repo.git", "file:///srv/repo.git", "file://"),
        ("file:///srv/repo.git", "file:///srv/repo.git", "file://"),
    ],
)
def test_a_url_is_written_in_one_way(text: str, canonical: str, origin: str) -> None:
    url = GitUrl.parse(text)
    assert (url.text, url.origin) == (canonical, origin)
    assert GitUrl.parse(url.text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--upload-pack=touch /tmp/x",
        "-x@host:path",
        "ext::sh -c touch% /tmp/x",
        "ext::sh@host:path",
        "fd::7",
        "git://host/repo",
        "ftp://host/repo",
        "file://host/repo",
        "repo.git",
        "./repo.git",
        "../repo.git",
        "host:repo.git",
        "https://user@host/repo",
        "https://user:password@host/repo",
        "https://host/repo?ref=main",
        "https://host/repo#main",
        "https://host./repo",
        "https://host/",
        "https://-oProxyCommand=x/repo",
        "https://127.1/repo",
        "ssh://host/repo",
        "ssh://git:password@host/repo",
        "ssh://-oProxyCommand=x/repo",
        "ssh://git@-oProxyCommand=x/repo",
        "ssh://-git@host/repo",
        "ssh://git@host/../repo",
        "ssh://git@host/a'b",
        "ssh://git@host/$(x)",
        "ssh://git@host/",
        "ssh://git@host:0/repo",
        "git@host:-repo",
        "git@host:../repo",
        "git@ho st:repo",
        "git@host:repo\n",
        "https://host/re\tpo",
        "https://host/" + "a" * 1024,
    ],
)
def test_what_is_not_a_plain_url_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidSpec):
        GitUrl.parse(text)


@given(st.text(max_size=60))
def test_whatever_is_accepted_is_neither_an_option_nor_a_command(text: str) -> None:
    for prefix in ("", "ssh://git@", "git@h:", "https://"):
        try:
            url = GitUrl.parse(prefix + text)
        except errors.InvalidSpec:
            continue
        assert not url.text.startswith("-")
        assert "::" not in url.text.partition("/")[0] or "[" in url.text
        assert not url.host.startswith("-")
        assert url.text.isascii()
        assert url.text.isprintable()
        assert " " not in url.text


@pytest.mark.parametrize("name", ["main", "release/1.x", "team-a/feature_2", "v1.0+rc1", "user@host"])
def test_names_of_branches(name: str) -> None:
    assert check_branch(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-f",
        "--help",
        "a..b",
        "a//b",
        "/a",
        "a/",
        "a b",
        "a:b",
        "a~1",
        "a^",
        "a?",
        "a*",
        "a[b",
        "a@{1}",
        ".a",
        "a/.b",
        "a.lock",
        "a.",
        "refs\n",
        "a\\b",
        "+main",
        "a" * 300,
    ],
)
def test_names_that_no_branch_has(name: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="not the name of a branch"):
        check_branch(name)


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("", ""),
        (".", ""),
        ("./", ""),
        ("images", "images"),
        ("./images/", "images"),
        ("a/b.yaml", "a/b.yaml"),
        ("a b", "a b"),
    ],
)
def test_paths_below_the_top(path: str, below: str) -> None:
    assert check_below(path) == below


@pytest.mark.parametrize("path", ["/etc", "..", "a/../b", "a//b", "a/./b", "-x", ":(glob)**", "a\nb", "../x", "a/.."])
def test_paths_that_lead_elsewhere(path: str) -> None:
    with pytest.raises(errors.InvalidSpec, match="not a path below"):
        check_below(path)
