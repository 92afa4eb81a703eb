"""Fetch, prove and place three bootable images, and say what to try next. Leaves everything in .demo/."""

import subprocess
import sys
from pathlib import Path
from string import Template

from manifests.demo import debian, server

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(__file__).with_name("images.yaml.in")
GOLDMASTER = ".venv/bin/goldmaster"
APPLY = [GOLDMASTER, "apply", ".demo/manifests", "--state", ".demo/state", "--allow-network", "127.0.0.0/8"]
NEXT = (
    ("what is known of one image, and why", f"{GOLDMASTER} describe image memtest86 --state .demo/state"),
    ("hash every stored byte again", f"{GOLDMASTER} verify --all --state .demo/state"),
    ("what would be done now, and why", f"{GOLDMASTER} plan {' '.join(APPLY[2:])}"),
)


def main(root: Path = ROOT) -> int:
    """Run the demo in a checkout; return its exit code, which is that of `goldmaster apply` where that fails."""
    images = root / ".demo" / "images"
    try:
        debian.prepare(images, root / ".demo" / "work")
    except debian.Unavailable as refusal:
        print(refusal, file=sys.stderr)
        return 1
    with server.ImageServer(images) as serving:
        write_manifests(root / ".demo" / "manifests", images, serving.url)
        print(f"Serving .demo/images at {serving.url}, at most {server.BYTES_PER_SECOND >> 20} MiB/s\n")
        if code := run(APPLY, root):
            return code
        print(f"\nThe server sent {serving.bytes_sent:,} bytes.\n")
    for verb in (["get", "images"], ["inventory", "grub-rescue"]):
        if code := run([GOLDMASTER, *verb, "--state", ".demo/state"], root):
            return code
        print()
    print("Try next:")
    for what, command in NEXT:
        print(f"  # {what}\n  {command}")
    return 0


def run(command: list[str], root: Path) -> int:
    """Show a command, run it in the checkout with this terminal, and return its exit code."""
    print(f"$ {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=root, check=False).returncode


def write_manifests(folder: Path, images: Path, url: str) -> None:
    """Fill the template in; a file that would not change is not touched."""
    checksums = {
        packaged.image.partition(".")[0].replace("-", "_"): server.file_sha256(images / packaged.image)
        for packaged in debian.PACKAGED
    }
    text = Template(TEMPLATE.read_text()).substitute(checksums, server=url)
    target = folder / "images.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.read_text() != text:
        target.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
