"""What of `make demo` needs no package mirror: its server, its qcow2 writer, fetching from a stand-in for apt-get."""

import hashlib
import http.client
import lzma
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from manifests.demo import __main__ as demo
from manifests.demo import debian, qcow2, server

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def images(tmp_path: Path) -> Iterator[server.ImageServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "disk.raw").write_bytes(CONTENT)
    (tmp_path / "secret").write_text("outside")
    with server.ImageServer(folder, port=0, bytes_per_second=None) as running:
        yield running


def ask(
    images: server.ImageServer, path: str, method: str = "GET", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", images.server_port, timeout=60)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_the_server_sends_a_file_with_a_strong_validator(images: server.ImageServer) -> None:
    answer, body = ask(images, "/disk.raw")
    assert (answer.status, body) == (200, CONTENT)
    assert str(answer.headers["ETag"]).startswith('"')
    assert images.bytes_sent == len(CONTENT)


def test_head_sends_no_body(images: server.ImageServer) -> None:
    answer, body = ask(images, "/disk.raw", "HEAD")
    assert (answer.status, answer.headers["Content-Length"], body) == (200, str(len(CONTENT)), b"")


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        ("bytes=262000-", 206, CONTENT[262000:]),
        ("bytes=5-9", 206, CONTENT[5:10]),
        ("bytes=262144-", 416, b""),
        ("bytes=9-5", 416, b""),
        ("bytes=5-999999999", 206, CONTENT[5:]),
        ("lines=1-2", 200, CONTENT),
        ("bytes=1-2,4-5", 200, CONTENT),
    ],
)
def test_the_server_understands_one_range(images: server.ImageServer, wanted: str, status: int, body: bytes) -> None:
    answer, got = ask(images, "/disk.raw", Range=wanted)
    assert (answer.status, got) == (status, body)


def test_a_changed_validator_gets_the_whole_file(images: server.ImageServer) -> None:
    answer, body = ask(images, "/disk.raw", Range="bytes=5-", If_Range='"another version"')
    assert (answer.status, body) == (200, CONTENT)
    answer, body = ask(images, "/disk.raw", Range="bytes=5-", If_Range=str(answer.headers["ETag"]))
    assert (answer.status, body) == (206, CONTENT[5:])


@pytest.mark.parametrize("path", ["/", "/../secret", "/%2e%2e/secret", "/..%2fsecret", "/absent", "/.hidden"])
def test_the_server_serves_nothing_else(images: server.ImageServer, path: str) -> None:
    assert ask(images, path)[0].status == 404


def test_a_taken_port_is_no_obstacle(images: server.ImageServer) -> None:
    with server.ImageServer(images.folder, port=images.server_port) as second:
        assert second.server_port != images.server_port


@pytest.mark.needs_qemu
@pytest.mark.parametrize("size", [512, 65536, 65536 * 3 + 512, pytest.param(520 * 2**20, marks=pytest.mark.slow)])
def test_qemu_img_reads_back_what_the_qcow2_writer_wrote(tmp_path: Path, size: int) -> None:
    """Sizes below, at and above a cluster, and one with two L2 tables; sparse where the raw disk has zeros."""
    raw, image, back = tmp_path / "raw", tmp_path / "image.qcow2", tmp_path / "back"
    with raw.open("wb") as file:
        for place in (0, size // 2, size - 512):
            file.seek(place - place % 512)
            file.write(random.Random(place).randbytes(512))
    qcow2.convert(raw, image)
    assert image.stat().st_size < 14 * 65536
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", image], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, back], check=True)
    assert server.file_sha256(back) == server.file_sha256(raw)


APT_GET = """#!/bin/sh
echo "$@" >>"$LOG"
case "$*" in
*update*) touch "$LOG.updated" ;;
*download*)
    [ -e "$LOG.updated" ] || { echo "E: Unable to locate package" >&2; exit 100; }
    for package in ipxe grub-rescue-pc memtest86+; do
        case " $* " in *" $package "*) cp "$DEBS/$package.deb" "./${package}_1_all.deb" ;; esac
    done ;;
esac
"""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for apt-get on PATH that knows the packages only after `update`; returns the log of its calls."""
    for folder in ("bin", "debs"):
        (tmp_path / folder).mkdir()
    for one in debian.PACKAGED:
        root = tmp_path / one.package
        (root / one.member).parent.mkdir(parents=True)
        (root / one.member).write_bytes(one.package.encode().ljust(70_000, b"\0"))
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN" / "control").write_text(
            f"Package: {one.package}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.com>\nDescription: b\n"
        )
        deb = tmp_path / "debs" / f"{one.package}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", root, deb], check=True, capture_output=True)
    (tmp_path / "bin" / "apt-get").write_text(APT_GET)
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "calls"))
    monkeypatch.setenv("DEBS", str(tmp_path / "debs"))
    return tmp_path / "calls"


def test_images_are_made_once_and_without_the_system_lists(mirror: Path, tmp_path: Path) -> None:
    """Where the system's lists fail, private ones are read; the second time nothing is asked."""
    made, work = tmp_path / "made", tmp_path / "work"
    assert debian.prepare(made, work)
    assert sorted(os.listdir(made)) == ["grub-rescue.qcow2", "ipxe.iso", "memtest86.iso.xz"]
    assert (made / "ipxe.iso").read_bytes().startswith(b"ipxe\0")
    assert lzma.decompress((made / "memtest86.iso.xz").read_bytes()).startswith(b"memtest86+\0")
    assert (made / "grub-rescue.qcow2").read_bytes().startswith(b"QFI\xfb")
    assert not work.exists()

    system, update, private = mirror.read_text().splitlines()
    assert "Dir::State" not in system
    assert "Dir::State::lists=" in update
    assert "Dir::State::lists=" in private
    assert not debian.prepare(made, work)
    assert len(mirror.read_text().splitlines()) == 3


def test_a_mirror_that_does_not_answer_is_explained(mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\necho 'E: Could not resolve host' >&2\nexit 100\n")
    with pytest.raises(debian.Unavailable, match="Could not resolve host"):
        debian.prepare(tmp_path / "made", tmp_path / "work")
    assert not mirror.exists()
    assert not (tmp_path / "work").exists()


def test_a_machine_without_apt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(debian.Unavailable, match="no apt-get"):
        debian.prepare(tmp_path / "made", tmp_path / "work")


def test_manifests_carry_the_checksums_and_are_touched_only_when_they_change(tmp_path: Path) -> None:
    for one in debian.PACKAGED:
        (tmp_path / one.image).write_text(one.image)
    folder = tmp_path / "manifests"
    written = folder / "images.yaml"
    demo.write_manifests(folder, tmp_path, "http://127.0.0.1:1")
    specs = {image["metadata"]["name"]: image["spec"] for image in yaml.safe_load_all(written.read_text())}
    assert specs["ipxe"]["checksum"] == "sha256:" + hashlib.sha256(b"ipxe.iso").hexdigest()
    assert specs["memtest86"]["url"] == "http://127.0.0.1:1/memtest86.iso.xz"
    assert set(specs) == {"ipxe", "grub-rescue", "memtest86"}

    os.utime(written, (1, 1))
    demo.write_manifests(folder, tmp_path, "http://127.0.0.1:1")
    assert written.stat().st_mtime == 1
    demo.write_manifests(folder, tmp_path, "http://127.0.0.1:2")
    assert written.stat().st_mtime > 1
