"""Fetch, prove and place three bootable images, and say what to try next. Leaves everything in .demo/."""

import subprocess
import sys
from pathlib import Path
from string import Template

from manifests.demo import debian, server

ROOT = Path(__file__).parents[2]
DEMO = ROOT / ".demo"
IMAGES, MANIFESTS, STATE = DEMO / "images", DEMO / "manifests", DEMO / "state"
TEMPLATE = Path(__file__).with_name("images.yaml.in")
GOLDMASTER = ".venv/bin/goldmaster"
APPLY = [GOLDMASTER, "apply", ".demo/manifests", "--state", ".demo/state", "--allow-network", "127.0.0.0/8"]
NEXT = (
    ("what is known of one image, and why", f"{GOLDMASTER} describe image memtest86 --state .demo/state"),
    ("hash every stored byte again", f"{GOLDMASTER} verify --all --state .demo/state"),
    ("what would be done now, and why", f"{GOLDMASTER} plan {' '.join(APPLY[2:])}"),
)


def main() -> int:
    """Run the demo; return its exit code, which is that of `goldmaster apply` where that fails."""
    try:
        debian.prepare(IMAGES, DEMO / "work")
    except debian.Unavailable as refusal:
        print(refusal, file=sys.stderr)
        return 1
    with server.ImageServer(IMAGES) as images:
        write_manifests(images.url)
        print(f"Serving {IMAGES.relative_to(ROOT)} at {images.url}, at most {server.BYTES_PER_SECOND >> 20} MiB/s\n")
        if code := run(APPLY):
            return code
        print(f"\nThe server sent {images.bytes_sent:,} bytes.")
    for verb in (["get", "images"], ["inventory"]):
        if code := run([GOLDMASTER, *verb, "--state", ".demo/state"]):
            return code
    print("\nTry next:")
    for what, command in NEXT:
        print(f"  # {what}\n  {command}")
    return 0


def run(command: list[str]) -> int:
    """Show a command, run it in the checkout with this terminal, and return its exit code."""
    print(f"$ {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def write_manifests(url: str) -> None:
    """Fill the template in; a file that would not change is not touched."""
    checksums = {
        origin.image.partition(".")[0].replace("-", "_"): server.file_sha256(IMAGES / origin.image)
        for origin in debian.ORIGINS
    }
    text = Template(TEMPLATE.read_text()).substitute(checksums, server=url)
    target = MANIFESTS / "images.yaml"
    MANIFESTS.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.read_text() != text:
        target.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
