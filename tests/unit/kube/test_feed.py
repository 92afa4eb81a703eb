"""The feed, as far as no server is needed: tests/apiserver has the rest."""

import asyncio

from controller.kube.exec_plugin import Login
from controller.kube.feed import Feed
from tests.fakes.clock import FakeClock
from tests.unit.kube.api import Api


def test_sessions_that_kopf_has_closed_are_not_kept(api: Api) -> None:
    """It logs in anew every ten minutes, for months."""
    feed = Feed(api.access(), lambda *_: None, FakeClock(), lambda *_: None, lambda: True)

    async def log_in_again_and_again() -> int:
        for _ in range(20):
            made = feed._session(Login(token="token"))
            await made.aiohttp_session.close()
        return len(feed._sessions)

    assert asyncio.run(log_in_again_and_again()) == 1
