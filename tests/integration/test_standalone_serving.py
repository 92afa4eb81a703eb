"""What `goldmaster run --serve` answers: probes that follow the loop, metrics of what it did."""

import threading
from pathlib import Path

import urllib3

from controller import wiring
from tests.apiserver import fixtures
from tests.fakes import images
from tests.integration.house import House

SETTLED = (
    'goldmaster_images{phase="Ready",reason="Succeeded"} 1.0',
    'goldmaster_images{phase="Failed",reason="SourceNotFound"} 1.0',
)


def ask(port: int, path: str) -> tuple[int, str]:
    answer = urllib3.request("GET", f"http://127.0.0.1:{port}{path}", timeout=60, retries=False)
    return answer.status, answer.data.decode()


def test_a_standalone_instance_is_probed_and_scraped(tmp_path: Path) -> None:
    house = House(tmp_path)
    content = images.raw()
    house.image("first", house.source("first.raw", content))
    house.image("lost", str(house.sources / "lost.raw"))
    stop = threading.Event()
    with (
        wiring.standalone(house.settings, house.mode) as instance,
        wiring.served(instance, ("127.0.0.1", 0), house.mode.scan_interval) as port,
    ):
        assert port is not None
        assert ask(port, "/readyz")[0] == 503, "no manifest was read yet"
        assert ask(port, "/healthz")[0] == 200
        loop = threading.Thread(target=instance.keep, args=([house.manifests], stop, lambda _: None))
        loop.start()
        try:
            fixtures.eventually(lambda: all(line in ask(port, "/metrics")[1] for line in SETTLED))
            page = ask(port, "/metrics")[1]
            assert f'goldmaster_received_bytes_total{{origin="source"}} {float(len(content))}' in page
            assert 'goldmaster_storage_connected{storage="default"} 1.0' in page
            assert "goldmaster_api_writes" not in page, "there is no API server"
            assert ask(port, "/readyz")[0] == 200
        finally:
            stop.set()
            loop.join()


def test_without_an_address_nothing_is_served(tmp_path: Path) -> None:
    house = House(tmp_path)
    with (
        wiring.standalone(house.settings, house.mode) as instance,
        wiring.served(instance, None, house.mode.scan_interval) as port,
    ):
        assert port is None
