"""The HTTP server of both modes: /healthz, /readyz, /metrics. Has a thread and loop of its own: it always answers."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from controller import errors
from controller.ports import Clock
from controller.serve import health
from controller.serve.health import Pulse, Verdict
from controller.serve.metrics import Metrics

log = structlog.get_logger()

START_WITHIN_S = 10.0


class Server:
    """Serves from `start` to `close`."""

    def __init__(
        self, host: str, port: int, pulse: Pulse, metrics: Metrics, clock: Clock, list_interval: timedelta
    ) -> None:
        """Take the address; port 0 takes a free one."""
        self._host = host
        self._metrics = metrics
        self._port = port
        self._probes: dict[str, Callable[[], Verdict]] = {
            "/healthz": lambda: health.alive(pulse, clock.monotonic(), list_interval),
            "/readyz": lambda: health.ready(pulse),
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="http")
        self._runner: web.AppRunner | None = None

    def start(self) -> int:
        """Listen, and return the port. Raises Usage where the address cannot be had."""
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        try:
            port = started.result(START_WITHIN_S)
        except OSError as exc:
            self.close()
            raise errors.Usage(f"cannot listen on {self._host}:{self._port}: {exc.strerror}") from exc
        log.info("serve.listens", message=f"{self._host}:{port}")
        return port

    def close(self) -> None:
        """Stop answering."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(START_WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> int:
        app = web.Application()
        for path in self._probes:
            app.router.add_get(path, self._probe)
        app.router.add_get("/metrics", self._scrape)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        return int(self._runner.addresses[0][1])

    async def _probe(self, request: web.Request) -> web.Response:
        verdict = self._probes[request.path]()
        return web.Response(text=verdict.text + "\n", status=200 if verdict.ok else 503)

    async def _scrape(self, _: web.Request) -> web.Response:
        page = await asyncio.to_thread(self._metrics.render)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
