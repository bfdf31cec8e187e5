"""Those who follow a sale, resume wherever their watch ends, and write down all that they are told."""

import asyncio
import json

import aiohttp
import grpc

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.chaos.history import Kind
from lab.chaos.messages import answer_of_json, as_dict
from lab.kit.server_sent_events import next_event

_AGAIN_SECONDS = 0.2
_SILENCE_SECONDS = 4.0
MOVEMENTS, STOCK = "watch_movements", "watch_stock"


class Watcher:
    """Follows movements or stock of a sale until cancelled."""

    def __init__(self, recorder, client, action, sale):
        self.name = f"{action} {sale} by {client.transport}"
        self.sale = sale
        self.sequence = 0
        """The last movement that it has been told of."""
        self._recorder, self._client, self._action = recorder, client, action
        self._token = ""
        self._is_told = False
        self._news = asyncio.Event()

    async def run(self):
        while True:
            operation = self._recorder.next_operation()
            request = self._request()
            self._record(operation, request=as_dict(request))
            reason = "ended"
            self._is_told = False
            try:
                await self._follow(request, operation)
            except grpc.aio.AioRpcError as error:
                reason = error.code().name
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                reason = type(error).__name__
            self._record(operation, reason=reason)
            if not self._is_told:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def until(self, sequence):
        """Returns once it has been told of a movement."""
        while self.sequence < sequence:
            self._news.clear()
            await self._news.wait()

    def _request(self):
        if self._action == MOVEMENTS:
            return ss.WatchMovementsRequest(parent=self.sale, resume_token=self._token)
        return ss.WatchStockRequest(name=self.sale, resume_token=self._token)

    def _record(self, operation, **fields):
        about = {"client": self.name, "operation": operation, "action": self._action}
        self._recorder.record(Kind.WATCH, **about, transport=self._client.transport, **fields)

    def _told(self, operation, answer):
        self._token = answer["resume_token"]
        self._is_told = True
        self._record(operation, answer=answer)
        latest = (answer["movements"] or [{}])[-1] if self._action == MOVEMENTS else next(iter(_contents(answer)), {})
        self.sequence = max(self.sequence, int(latest.get("sequence", 0)))
        self._news.set()


def _contents(answer):
    """What a stock event says, whichever kind it is of."""
    return (answer[kind] for kind in ("snapshot", "change", "heartbeat") if kind in answer)


class GrpcWatcher(Watcher):
    async def _follow(self, request, operation):
        _, sales = self._client.stubs()
        call = (sales.WatchMovements if self._action == MOVEMENTS else sales.WatchStock)(request)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    event = await call.read()
                if event is grpc.aio.EOF:
                    return
                self._told(operation, as_dict(event))
        finally:
            call.cancel()


class SseWatcher(Watcher):
    async def _follow(self, request, operation):
        path = f"/v1/{self.sale}/movements:watch" if self._action == MOVEMENTS else f"/v1/{self.sale}:watch"
        headers = {"Last-Event-ID": request.resume_token} if request.resume_token else {}
        async with self._client.stream(path, headers) as answer:
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            while event := await next_event(answer.content):
                if event.get("event") != "error":
                    document = json.loads(event["data"]) | {"resumeToken": event.get("id", "")}
                    self._told(operation, answer_of_json(self._action, document))
