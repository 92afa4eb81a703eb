"""A directory in memory, for tests that make thousands of files: a disk may need milliseconds to remove each."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def memory_directory() -> Iterator[Path]:
    """Make one below /dev/shm (where a tmpfs is), else among the other temporary files; remove it afterwards."""
    here = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    path = Path(tempfile.mkdtemp(prefix="goldmaster-", dir=here))
    try:
        yield path
    finally:
        shutil.rmtree(path)
