"""By what an image is proven, through the command line: a publisher's checksum list on disk."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.integration.test_cli import Shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    yield Shell(tmp_path, capsys)
    structlog.reset_defaults()


def status(shell: Shell, name: str) -> dict[str, object]:
    assert shell("get", "image", name, "-o", "json") == 0
    found: dict[str, object] = json.loads(shell.out)["status"]
    return found


def test_an_image_is_proven_by_its_publishers_list(shell: Shell) -> None:
    sums = shell.sources / "SHA512SUMS"
    data = shell.image("a.raw", 1, {"checksumFrom": {"url": str(sums)}})
    assert shell.apply() == 4
    assert f"SourceNotFound: the checksum list file://{sums}: file://{sums}: no such file" in shell.err
    sums.write_text(f"{hashlib.sha512(b'').hexdigest()} *a.raw\r\n")
    assert shell.apply() == 4
    assert "ChecksumMismatch: expected sha512:cf83e1" in shell.err
    sums.write_text(f"{hashlib.sha512(data).hexdigest()} *a.raw\r\n")
    assert shell.apply() == 0
    assert status(shell, "a.raw")["current"]["proof"] == "checksum list sha512"  # type: ignore[index]
    assert shell("describe", "image", "a.raw") == 0
    assert "by checksum list sha512 at" in shell.out


def test_another_list_with_the_same_digest_costs_no_download(shell: Shell) -> None:
    """The source is gone by then, so that nothing but the list could have been read."""
    data = shell.image("a.raw", 1)
    assert shell.apply() == 0
    (shell.sources / "SUM").write_text(hashlib.sha256(data).hexdigest())
    (shell.sources / "a.raw").unlink()
    shell.manifest("a.raw", url=str(shell.sources / "a.raw"), checksumFrom={"url": str(shell.sources / "SUM")})
    assert shell.apply() == 0
    assert status(shell, "a.raw")["current"]["proof"] == "checksum list sha256"  # type: ignore[index]


def test_describe_shows_no_query_of_a_list(shell: Shell) -> None:
    shell.manifest("a", url="http://127.0.0.1:1/a?k=hunter2", checksumFrom={"url": "http://127.0.0.1:1/S?k=hunter3"})
    assert shell.apply() == 5
    assert "hunter" not in shell.out + shell.err
    assert shell("describe", "image", "a") == 0
    assert "url:" in shell.out
    assert "hunter" not in shell.out
