"""A receiver of webhooks: a real HTTP server that verifies messages as the Standard Webhooks library does."""

import asyncio
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from standardwebhooks import Webhook as Verifier

from lab.kit.web_server import serving

_BOUND_SECONDS = 30


class Received(NamedTuple):
    """A message, with its id and when the attempt was made by the sender's clock."""

    id: str
    body: dict
    raw: str

    @property
    def sale(self):
        return self.body["data"]["sale"]

    @property
    def sequences(self):
        return [int(movement["sequence"]) for movement in self.body["data"]["movements"]]


class Receiver:
    """What arrived, in order, whatever was answered. `answers` are used one by one; then 204."""

    def __init__(self):
        self.received = []
        self.answers = []
        self.secrets = []
        self.url = ""
        self.waiting = 0
        self._news = asyncio.Event()

    async def handle(self, request):
        body = await request.text()
        for secret in self.secrets:
            Verifier(secret).verify(body, request.headers)
        self.received.append(Received(request.headers["webhook-id"], await request.json(), body))
        self._news.set()
        answer = self.answers.pop(0) if self.answers else web.Response(status=204)
        return await answer(request) if callable(answer) else answer

    async def until(self, fact):
        """Wait until `fact(receiver)` is true after a message."""
        async with asyncio.timeout(_BOUND_SECONDS):
            while not fact(self):
                self._news.clear()
                await self._news.wait()

    async def until_count(self, count):
        await self.until(lambda receiver: len(receiver.received) >= count)

    def sequences(self, sale="sales/drop-1"):
        """All sequences that arrived of a sale, in order of arrival."""
        return [sequence for message in self.received if message.sale == sale for sequence in message.sequences]

    def distinct(self, sale="sales/drop-1"):
        """The sequences of a sale without repetitions, as a receiver processes them."""
        seen = []
        for sequence in self.sequences(sale):
            if not seen or sequence > seen[-1]:
                seen.append(sequence)
        return seen


@asynccontextmanager
async def receiving(path="/hook"):
    """Serve a receiver."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    async with serving(app) as url:
        receiver.url = url + path
        yield receiver
