"""What of a Secret reaches a Git server, and which Secret does not."""

import pytest

from controller import errors
from controller.model.git_secret import credentials_for
from controller.model.git_url import GitUrl
from controller.model.secret import SOURCE_TYPE, Secret

HTTPS, SSH = GitUrl.parse("https://git.example/r"), GitUrl.parse("ssh://git@git.example:2222/r")
PRIVATE = b"-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----"
GOOD = {
    "origins": b"ssh://git.example:2222",
    "identity": PRIVATE,
    "known_hosts": b"[git.example]:2222 ssh-ed25519 AAAA",
}


def secret(kind: str = SOURCE_TYPE, /, **data: bytes) -> Secret:
    return Secret("default", "git", kind, data)


def test_http_knows_what_sources_know() -> None:
    found = credentials_for(HTTPS, secret(origins=b"https://git.example", username=b"me", password=b"hunter2222"))
    assert found.http is not None
    assert found.http.headers == (("Authorization", "Basic bWU6aHVudGVyMjIyMg=="),)
    assert found.scrub("remote: hunter2222 bWU6aHVudGVyMjIyMg==") == "remote: *** ***"
    assert "hunter" not in repr(found)


def test_ssh_gets_a_key_and_whom_to_trust() -> None:
    found = credentials_for(SSH, secret(**GOOD))
    assert found.identity == PRIVATE + b"\n"
    assert found.known_hosts == GOOD["known_hosts"] + b"\n"
    assert "PRIVATE" not in repr(found)


@pytest.mark.parametrize(
    ("url", "given", "error", "message"),
    [
        (SSH, secret("Opaque", **GOOD), errors.PolicyDenied, "not of type"),
        (HTTPS, secret("Opaque", origins=b"https://git.example"), errors.PolicyDenied, "not of type"),
        (
            SSH,
            secret(**{**GOOD, "origins": b"ssh://git.example"}),
            errors.PolicyDenied,
            "may not go to ssh://git.example:2222",
        ),
        (SSH, secret(**{**GOOD, "origins": b""}), errors.PolicyDenied, "no origins"),
        (HTTPS, secret(origins=b"https://other.example"), errors.PolicyDenied, "may not go to https://git.example:443"),
        (SSH, secret(**{**GOOD, "known_hosts": b" \n"}), errors.DependencyNotReady, "known_hosts is missing"),
        (SSH, secret(**{**GOOD, "identity": b""}), errors.DependencyNotReady, "identity is missing"),
        (SSH, secret(**GOOD, password=b"x"), errors.DependencyNotReady, "password is not a key that ssh knows"),
        (SSH, secret(**{**GOOD, "origins": b"https://git.example"}), errors.DependencyNotReady, "is a list of ssh://"),
        (
            SSH,
            secret(**{**GOOD, "origins": b"ssh://git@git.example:2222"}),
            errors.DependencyNotReady,
            "is a list of ssh://",
        ),
        (SSH, secret(**{**GOOD, "origins": b"ssh://-o:2222"}), errors.DependencyNotReady, "is a list of ssh://"),
        (
            HTTPS,
            secret(origins=b"https://git.example", identity=PRIVATE),
            errors.DependencyNotReady,
            "identity is not a key",
        ),
        (GitUrl.parse("/srv/r.git"), secret(**GOOD), errors.PolicyDenied, "not needed"),
    ],
)
def test_what_does_not_fit_is_said_without_a_value(
    url: GitUrl, given: Secret, error: type[errors.GoldmasterError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        credentials_for(url, given)
    assert "c2VjcmV0" not in str(caught.value)
