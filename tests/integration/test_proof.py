"""By what an image is proven, through the command line: a publisher's checksum list on disk."""

import hashlib
import json

from pysequoia import SignatureMode, Tsk, sign

from tests.integration.shell import Shell


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
    assert shell.status("a.raw")["current"]["proof"] == "checksum list sha512"
    assert shell("describe", "image", "a.raw") == 0
    assert "by checksum list sha512 at" in shell.out


def test_an_image_is_proven_by_a_signed_list(shell: Shell) -> None:
    """A bad signature stalls it, a good one makes it Ready, and the key comes from --secrets."""
    key, other = Tsk.generate("publisher"), Tsk.generate("somebody else")
    sums, beside = shell.sources / "SHA256SUMS", shell.sources / "SHA256SUMS.gpg"
    signature = {"url": str(beside), "keyRef": {"name": "keys"}}
    data = shell.image("a.raw", 1, {"checksumFrom": {"url": str(sums), "signature": signature}})
    sums.write_text(f"{hashlib.sha256(data).hexdigest()}  a.raw\n")
    secrets = shell.root / "secrets"
    secrets.mkdir(mode=0o700)
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "type": "goldmaster.dev/keys",
        "stringData": {"publisher": str(key.extract_certificate())},
    }
    (secrets / "keys.json").write_text(json.dumps(document))
    (secrets / "keys.json").chmod(0o600)
    beside.write_bytes(sign(other.signer(), sums.read_bytes(), mode=SignatureMode.DETACHED))
    assert shell.apply("--secrets", str(secrets)) == 4
    assert f"SignatureInvalid: the signature file://{beside}: it was made by the key " in shell.err
    beside.write_bytes(sign(key.signer(), sums.read_bytes(), mode=SignatureMode.DETACHED))
    assert shell.apply("--secrets", str(secrets)) == 0
    assert shell.status("a.raw")["current"]["proof"] == "signed list sha256"


def test_another_list_with_the_same_digest_costs_no_download(shell: Shell) -> None:
    """The source is gone by then, so that nothing but the list could have been read."""
    data = shell.image("a.raw", 1)
    assert shell.apply() == 0
    (shell.sources / "SUM").write_text(hashlib.sha256(data).hexdigest())
    (shell.sources / "a.raw").unlink()
    shell.manifest("a.raw", url=str(shell.sources / "a.raw"), checksumFrom={"url": str(shell.sources / "SUM")})
    assert shell.apply() == 0
    assert shell.status("a.raw")["current"]["proof"] == "checksum list sha256"


def test_describe_shows_no_query_of_a_list(shell: Shell) -> None:
    signature = {"url": "http://127.0.0.1:1/S.gpg?k=hunter4", "keyRef": {"name": "keys"}}
    listed = {"url": "http://127.0.0.1:1/S?k=hunter3", "signature": signature}
    shell.manifest("a", url="http://127.0.0.1:1/a?k=hunter2", checksumFrom=listed)
    assert shell.apply("--timeout", "1s") == 4
    assert "hunter" not in shell.out + shell.err
    assert shell("describe", "image", "a") == 0
    assert "url:" in shell.out
    assert "hunter" not in shell.out
