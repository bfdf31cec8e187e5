"""Those who follow a sale, resume wherever their watch ends, and must see everything once and in order."""

import asyncio
import json

import aiohttp
import grpc

from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from lab.kit.server_sent_events import next_event

_AGAIN_SECONDS = 0.2
_CATCH_UP_SECONDS = 20.0


class Watcher:
    """Follows movements, or stock when `stock` is set. A slow one takes its time over each event."""

    def __init__(self, name, sale, *, stock=False, slow_seconds=0.0):
        self.name = name
        self.sequence = 0
        self.resumed = 0
        self.gaps = []
        self.ends = {}
        self._sale, self._stock = sale, stock
        self._slow_seconds = slow_seconds
        self._token = ""
        self._told = False
        self._news = asyncio.Event()

    async def run(self):
        """Follow until cancelled."""
        while True:
            self._told = False
            try:
                await self._follow()
                end = "ended"
            except grpc.aio.AioRpcError as error:
                end = error.code().name
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                end = type(error).__name__
            self.ends[end] = self.ends.get(end, 0) + 1
            self.resumed += 1
            if not self._told:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def has_seen(self, sequence):
        """Whether it has come so far, in a while."""
        self._slow_seconds = 0.0
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                while self.sequence < sequence:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _at(self, token):
        self._token = token or self._token
        self._told = True

    async def _seen(self, previous, sequence, token):
        if previous is not None and previous != self.sequence:
            self.gaps.append(f"{self.name} saw {previous} to {sequence} after {self.sequence}")
        self.sequence = max(sequence, self.sequence)
        self._at(token)
        self._news.set()
        if self._slow_seconds:
            await asyncio.sleep(self._slow_seconds)


class GrpcWatcher(Watcher):
    """By WatchMovements or WatchStock."""

    def __init__(self, name, client, sale, **options):
        super().__init__(name, sale, **options)
        self._stub = SaleServiceStub(client.channel)

    async def _follow(self):
        if self._stock:
            async for event in self._stub.WatchStock(ss.WatchStockRequest(name=self._sale, resume_token=self._token)):
                kind = event.WhichOneof("event")
                content = getattr(event, kind)
                # A snapshot begins anew; a heartbeat tells where one is.
                previous = content.previous_sequence if kind == "change" else None
                await self._seen(previous, content.sequence, event.resume_token)
            return
        request = ss.WatchMovementsRequest(parent=self._sale, resume_token=self._token)
        async for event in self._stub.WatchMovements(request):
            for movement in event.movements:
                await self._seen(movement.sequence - 1, movement.sequence, "")
            self._at(event.resume_token)


class SseWatcher(Watcher):
    """By server-sent events."""

    def __init__(self, name, client, sale, **options):
        super().__init__(name, sale, **options)
        self._client = client

    async def _follow(self):
        path = f"/v1/{self._sale}:watch" if self._stock else f"/v1/{self._sale}/movements:watch"
        headers = {"Last-Event-ID": self._token} if self._token else {}
        async with self._client.stream(path, **headers) as answer:
            if answer.status != 200:
                raise aiohttp.ClientError(f"{answer.status}")
            while event := await next_event(answer.content):
                await self._take(event)

    async def _take(self, event):
        if event.get("event") == "error":
            return
        content = json.loads(event["data"])
        if self._stock:
            change = content.get("change")
            latest = change or content.get("snapshot") or content["heartbeat"]
            previous = int(change.get("previousSequence", 0)) if change else None
            await self._seen(previous, int(latest["sequence"]), event.get("id"))
            return
        for movement in content.get("movements", ()):
            await self._seen(int(movement["sequence"]) - 1, int(movement["sequence"]), "")
        self._at(event.get("id"))
