"""A receiver of a webhook that follows one sale: no gap, no wrong order, whatever is sent how often."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from holdfast.inventory.v1 import webhook_service_pb2 as ws
from lab.kit.grpc_client import GrpcClient
from lab.kit.web_server import serving

SETTINGS = {
    "HOLDFAST_WEBHOOKS": "true",
    "HOLDFAST_WEBHOOK_ALLOW_HTTP": "true",
    "HOLDFAST_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HOLDFAST_WEBHOOK_TIMEOUT_SECONDS": "3",
}
"""The settings of inventories that send to a receiver on this machine."""

_CATCH_UP_SECONDS = 30.0
_REFUSED_OF = 10
"""One message in so many is refused, and one is accepted without an answer that arrives."""


class Chain:
    """The messages that were accepted, one after the other."""

    def __init__(self) -> None:
        self.sequence = 0
        self.repeated = 0

    def accept(self, after: int, through: int, sequences: Sequence[int]) -> str | None:
        """Take the next message. Return what is wrong with it, or None."""
        if not sequences or list(sequences) != list(range(after + 1, through + 1)):
            return f"a message after {after} and up to {through} has {list(sequences)}"
        if through <= self.sequence:
            self.repeated += 1
            return None
        known, self.sequence = self.sequence, through
        # Messages are stored with their end before they are sent, so a repetition never ends elsewhere.
        return None if after == known else f"a message after {after} came after {known}"


class WebhookFollower:
    """A webhook and its receiver, which refuses some messages. It has the interface of a watcher of the drill."""

    name = "webhook"

    def __init__(self, sale: str) -> None:
        self.gaps: list[str] = []
        self.ends: Counter[str] = Counter()
        self._sale = sale
        self._chain = Chain()
        self._verifier: Webhook | None = None
        self._news = asyncio.Event()
        self._serving = AsyncExitStack()

    @property
    def sequence(self) -> int:
        """The last movement that was received."""
        return self._chain.sequence

    @property
    def resumed(self) -> int:
        """How often a message was repeated."""
        return self._chain.repeated

    async def start(self, client: GrpcClient) -> None:
        """Listen, and create the webhook. It sends the sale's movements from the first on."""
        app = web.Application()
        app.router.add_post("/", self._receive)
        url = await self._serving.enter_async_context(serving(app)) + "/"
        request = ws.CreateWebhookRequest(webhook_id=self.name, webhook=ws.Webhook(url=url, sale=self._sale))
        self._verifier = Webhook((await client.call(request)).secret)
        delivery = f"webhooks/{self.name}/deliveries/{self._sale.removeprefix('sales/')}"
        await client.call(ws.RedeliverMovementsRequest(name=delivery, after_sequence=0))

    async def close(self) -> None:
        """Receive nothing more."""
        await self._serving.aclose()

    async def run(self) -> None:
        """Do nothing: messages come by themselves."""

    async def has_seen(self, sequence: int) -> bool:
        """Return whether it reaches the sequence within some time."""
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                await self.until(sequence)
        except TimeoutError:
            return False
        return True

    async def until(self, sequence: int) -> None:
        """Wait until it has reached the sequence."""
        while self.sequence < sequence:
            self._news.clear()
            await self._news.wait()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.text()
        try:
            data = self._verified(body, dict(request.headers))
        except WebhookVerificationError as error:
            self.gaps.append(f"a message is not signed: {error}")
            return web.Response(status=401)
        self.ends["messages"] += 1
        turn = self.ends["messages"] % _REFUSED_OF
        if turn == 1:
            return web.Response(status=500)
        self._accept(data)
        if turn == 0 and request.transport is not None:
            request.transport.abort()
        return web.Response(status=204)

    def _verified(self, body: str, headers: dict[str, str]) -> dict[str, Any]:
        if self._verifier is None:
            raise RuntimeError("a message came before the webhook was created")
        return dict(self._verifier.verify(body, headers)["data"])

    def _accept(self, data: dict[str, Any]) -> None:
        sequences = [int(movement["sequence"]) for movement in data["movements"]]
        fault = self._chain.accept(int(data["afterSequence"]), int(data["sequence"]), sequences)
        if fault is not None or data["sale"] != self._sale:
            self.gaps.append(f"{self.name}: {fault or data['sale']}")
        self._news.set()
