"""Watches of a sale over both transports: every event is the contract's message."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
from google.protobuf import json_format

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import GrpcClient
from lab.kit.rest_client import NO_ANSWER, RestClient
from lab.kit.server_sent_events import next_event

SILENCE_SECONDS = 30.0
_AGAIN_SECONDS = 0.2
_PATHS = {ss.WatchMovementsRequest: "/v1/{}/movements:watch", ss.WatchStockRequest: "/v1/{}:watch"}
_EVENTS = {ss.WatchMovementsRequest: ss.WatchMovementsResponse, ss.WatchStockRequest: ss.WatchStockResponse}

Client = GrpcClient | RestClient
Request = ss.WatchMovementsRequest | ss.WatchStockRequest
Event = ss.WatchMovementsResponse | ss.WatchStockResponse


def request_for(sale: str, *, stock: bool, resume_token: str = "") -> Request:
    """Return a request to watch a sale's stock, or its movements."""
    if stock:
        return ss.WatchStockRequest(name=sale, resume_token=resume_token)
    return ss.WatchMovementsRequest(parent=sale, resume_token=resume_token)


def events(client: Client, request: Request, silence_seconds: float = SILENCE_SECONDS) -> AsyncGenerator[Event, None]:
    """Return the events of one watch, until it ends. Close it (`contextlib.aclosing`).

    Raises grpc.aio.AioRpcError over gRPC, one of NO_ANSWER over REST, and TimeoutError if there is no event for
    `silence_seconds` over gRPC, or for the client's timeout over REST.
    """
    if isinstance(client, GrpcClient):
        return _over_grpc(client, request, silence_seconds)
    return _over_rest(client, request)


async def _over_grpc(client: GrpcClient, request: Request, silence_seconds: float) -> AsyncGenerator[Event, None]:
    call = client.call(request, None)
    try:
        while True:
            async with asyncio.timeout(silence_seconds):
                event = await call.read()
            if event is grpc.aio.EOF:
                return
            yield event
    finally:
        call.cancel()


async def _over_rest(client: RestClient, request: Request) -> AsyncGenerator[Event, None]:
    kind = type(request)
    sale = request.name if isinstance(request, ss.WatchStockRequest) else request.parent
    headers = {"Last-Event-ID": request.resume_token} if request.resume_token else {}
    async with client.stream(_PATHS[kind].format(sale), **headers) as answer:
        if answer.status != 200:
            raise ValueError(f"HTTP {answer.status}")
        while block := await next_event(answer.content):
            if block.get("event") != "error":
                document = json.loads(block["data"]) | {"resumeToken": block.get("id", "")}
                yield json_format.ParseDict(document, _EVENTS[kind](), ignore_unknown_fields=True)


def sequence_of(event: Event) -> int:
    """Return the last movement of an event; 0 if it has none."""
    if isinstance(event, ss.WatchMovementsResponse):
        return event.movements[-1].sequence if event.movements else 0
    kind = event.WhichOneof("event")
    return getattr(event, kind).sequence if kind else 0


class Watcher:
    """A watch of a sale's movements or stock that resumes when a call ends."""

    silence_seconds = SILENCE_SECONDS

    def __init__(self, sale: str, *, stock: bool = False) -> None:
        self.sale = sale
        self.stock = stock
        self.sequence = 0
        """The last movement that it received."""
        self._token = ""
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            token, request = self._token, request_for(self.sale, stock=self.stock, resume_token=self._token)
            self.on_opened(request)
            self.on_ended(await self._follow(request))
            if token == self._token:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def until(self, sequence: int) -> None:
        """Wait until it has received a movement."""
        while self.sequence < sequence:
            self._news.clear()
            await self._news.wait()

    async def _follow(self, request: Request) -> str:
        try:
            async with aclosing(events(self.choose(), request, self.silence_seconds)) as told:
                async for event in told:
                    await self.on_event(event)
                    self._token = event.resume_token or self._token
                    self.sequence = max(self.sequence, sequence_of(event))
                    self._news.set()
        except grpc.aio.AioRpcError as error:
            return error.code().name
        except NO_ANSWER as error:
            return type(error).__name__
        return "ended"

    # For subclasses

    def choose(self) -> Client:
        """Return the client for the next watch."""
        raise NotImplementedError

    def on_opened(self, request: Request) -> None:
        """Called before a watch is opened."""

    async def on_event(self, event: Event) -> None:
        """Called with each event, before the position advances."""

    def on_ended(self, how: str) -> None:
        """Called when a watch has ended, with a gRPC code, the name of an exception, or `ended`."""
