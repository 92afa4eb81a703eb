"""A process that works on an ImageStore until it is killed: `python -m tests.integration.imagestore_worker PATH SEED`.

It prints one line per finished operation, flushed, so that the parent knows what was promised.
"""

import random
import sys
from datetime import UTC, datetime

from controller.adapters.backup.imagestore import ImageStore
from controller.model.transfer import ResumeRecord, Validator
from tests.fakes.clock import FakeClock
from tests.fakes.stored_bytes import content_of, ref_of

UUID = "5" * 32
SOURCE = random.Random(7).randbytes(3 * 2**20)
SIZES = (1, 4096, 5000, 70_000, 2**20 + 3)


def data_of(number: int) -> bytes:
    """Return the bytes of content `number`."""
    return SOURCE[number : number + SIZES[number % len(SIZES)]]


def image_of(number: int) -> str:
    return f"{number:032x}"


def open_store(path: str) -> ImageStore:
    return ImageStore(path, storage_uuid=UUID, reserved_bytes=0, clock=FakeClock(datetime.now(UTC)))


def work(path: str, seed: int) -> None:
    """Import, claim, drop and download with resume records, for ever."""
    choose = random.Random(seed)
    store = open_store(path)
    store.probe()
    say("ready")
    while True:
        number, image = choose.randrange(12), image_of(choose.randrange(4))
        data = data_of(number)
        content = content_of(data)
        match choose.choice(["import", "import", "drop", "download"]):
            case "import":
                staged = store.stage(f"t-{number}", keep_bytes=0, size_hint=choose.choice([None, len(data)]))
                staged.write(memoryview(data))
                staged.sync()
                store.publish(staged, content)
                say(f"link- {image} {number}")
                store.link(image, ref_of(content))
                say(f"link {image} {number}")
            case "drop":
                say(f"unlink- {image} {number}")
                store.unlink(image, content.sha256)
                say(f"unlink {image} {number}")
            case "download":
                download(store, choose)


def download(store: ImageStore, choose: random.Random) -> None:
    """Go on with the one partial that is never finished, keeping its promise up to date."""
    record = store.resume_record("long")
    staged = store.stage("long", keep_bytes=record.durable_bytes if record else 0, size_hint=None)
    for _ in range(3):
        start = staged.written_bytes % len(SOURCE)
        staged.write(memoryview(SOURCE)[start : start + choose.randrange(1, 50_000)])
    staged.sync()
    store.save_resume_record("long", ResumeRecord("s", Validator('"v"', None), None, staged.written_bytes))
    say(f"durable {staged.written_bytes}")
    staged.close()


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
