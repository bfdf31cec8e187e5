"""A watcher resumes after the last event that it received, and counts events."""

import asyncio

import pytest
from aiohttp import web

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.rest_client import RestClient
from lab.kit.watching import Watcher, sequence_of
from lab.kit.web_server import serving
from tests.support.eventually import eventually

EVENTS = [
    b'id: t-1\ndata: {"snapshot": {"sequence": "1"}}\n\n: still here\n\n',
    b'event: change\nid: t-2\ndata: {"change": {"sequence": "2"}}\n\nevent: error\ndata: {}\n\n',
]


class Noting(Watcher):
    def __init__(self, client):
        super().__init__("sales/a", stock=True)
        self.client = client
        self.opened, self.told, self.ended = [], [], []

    def choose(self):
        return self.client

    def on_opened(self, request):
        self.opened.append(request.resume_token)

    async def on_event(self, event):
        self.told.append((event.WhichOneof("event"), self.sequence))

    def on_ended(self, how):
        self.ended.append(how)


@pytest.fixture
async def watcher():
    """A watch of a gateway that sends one event and ends, then the next, and then refuses."""
    answers = iter(EVENTS)

    async def watch(request):
        assert request.path == "/v1/sales/a:watch"
        block = next(answers, None)
        return web.Response(body=block, status=503 if block is None else 200)

    application = web.Application()
    application.router.add_get("/{path:.*}", watch)
    async with serving(application) as url, RestClient(url) as client:
        yield Noting(client)


async def test_a_watcher_goes_on_where_it_was(watcher):
    following = asyncio.create_task(watcher.run())
    await eventually(lambda: len(watcher.ended) >= 3)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert watcher.opened[:3] == ["", "t-1", "t-2"]
    assert watcher.told == [("snapshot", 0), ("change", 1)]
    assert watcher.ended[:3] == ["ended", "ended", "ValueError"]


def test_a_heartbeat_of_movements_tells_of_none():
    assert sequence_of(ss.WatchMovementsResponse(resume_token="t")) == 0
