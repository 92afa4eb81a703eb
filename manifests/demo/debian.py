"""Take bootable images out of Debian's packages, without root and without installing anything."""

import lzma
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from manifests.demo import qcow2


class Unavailable(Exception):
    """The packages cannot be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Packaged:
    """Where an image of the demo comes from: a file of a Debian package."""

    package: str
    member: str
    image: str


PACKAGED = (
    Packaged("ipxe", "usr/lib/ipxe/ipxe.iso", "ipxe.iso"),
    Packaged("grub-rescue-pc", "usr/lib/grub-rescue/grub-rescue-cdrom.iso", "grub-rescue.qcow2"),
    Packaged("memtest86+", "usr/lib/memtest86+/memtest86+x64.iso", "memtest86.iso.xz"),
)


def prepare(images: Path, work: Path) -> bool:
    """Make every image that `images` lacks; return whether anything was missing. `work` is removed at the end.

    Raises:
        Unavailable: no apt-get or dpkg-deb here, or the package mirror does not answer.

    """
    missing = [packaged for packaged in PACKAGED if not (images / packaged.image).exists()]
    if not missing:
        return False
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"The demo takes its images from Debian packages, and this machine has no {tool}.")
    images.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        print(f"Fetching Debian packages (unpacked here, not installed): {' '.join(o.package for o in missing)}")
        download([packaged.package for packaged in missing], work)
        for packaged in missing:
            make_image(packaged, work, images / packaged.image)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def download(packages: list[str], work: Path) -> None:
    """Fetch .deb files into `work`: with the system's package lists, else with lists of our own beside them."""
    private = _private_lists(work)
    if _apt(["download", *packages], work, []) == "":
        return
    print("  the system's package lists do not have them; reading lists of our own")
    failure = _apt(["update"], work, private) or _apt(["download", *packages], work, private)
    if failure:
        raise Unavailable(
            f"Debian's packages cannot be fetched: {failure}\nCheck that `apt-get update` works on this machine."
        )


def make_image(packaged: Packaged, work: Path, target: Path) -> None:
    """Unpack the package of `packaged`; put its image, converted as its name says, at `target`, whole or not at all."""
    (package,) = work.glob(f"{packaged.package}_*.deb")
    unpacked = work / packaged.package
    subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
    disk = unpacked / packaged.member
    staged = work / packaged.image
    match target.suffix:
        case ".qcow2":
            qcow2.convert(disk, staged)
        case ".xz":
            staged.write_bytes(lzma.compress(disk.read_bytes(), preset=6))
        case _:
            shutil.copyfile(disk, staged)
    staged.replace(target)


def _private_lists(work: Path) -> list[str]:
    apt = (work / "apt").absolute()
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    return [
        *("-o", f"Dir::State::lists={apt}/lists"),
        *("-o", f"Dir::State::status={apt}/status"),
        *("-o", f"Dir::Cache={apt}/cache"),
        *("-o", "APT::Architecture=amd64"),  # the images are PC images, whatever this machine is
        *("-o", "APT::Architectures=amd64"),
    ]


def _apt(arguments: list[str], folder: Path, options: list[str]) -> str:
    """Run apt-get in `folder`; return the last line of what went wrong, or nothing."""
    # Without this, apt as root warns that its own user may not write here.
    unprivileged = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    done = subprocess.run(
        ["apt-get", "-qq", *unprivileged, *options, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"apt-get ended with {done.returncode}"])[-1]
