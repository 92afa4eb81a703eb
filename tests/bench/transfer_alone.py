"""Run one transfer as the engine does, without engine, state and command line around it: URL FOLDER.

Prints the seconds from asking the source to the published copy, on a line of their own.
"""

import sys
import threading
import time
from ipaddress import ip_network

from controller import wiring
from controller.adapters.backup.factory import BackupStorages
from controller.adapters.clock import SystemClock
from controller.engine.transfer import one_pass
from controller.model.backup_storage import BackupStorageSpec, ImageStoreSpec, StorageType
from controller.model.image import Format, Timeouts
from controller.model.transfer import Placed, TransferRequest, TransferTarget
from controller.model.url import SourceUrl
from controller.settings import SourceSettings


def main(source_url: str, folder: str) -> int:
    """Transfer; return 1 where it did not end well."""
    clock = SystemClock()
    spec = BackupStorageSpec(StorageType.IMAGE_STORE, ImageStoreSpec(f"{folder}/store"), reserved_capacity_bytes=0)
    target = TransferTarget("0" * 31 + "1", "bench", spec)
    storages = BackupStorages(clock)
    storages(target.uuid, spec).probe()
    source = wiring.sources(SourceSettings(allowed_networks=(ip_network("127.0.0.0/8"),)), clock, forbidden=())
    request = TransferRequest(
        key="bench",
        namespace="default",
        url=SourceUrl.parse(source_url),
        source_id="bench",
        targets=(target,),
        checksum=None,
        format=Format.RAW,
        iso_expected=False,
        max_size_bytes=2**40,
        timeouts=Timeouts(),
    )
    began = time.perf_counter()
    ended = one_pass.run(request, source, storages, clock, threading.Event(), lambda _: None)
    seconds = time.perf_counter() - began
    if not isinstance(ended, Placed):
        print(ended)
        return 1
    print(seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
