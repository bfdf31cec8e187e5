"""Server-streaming methods as server-sent events."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.message import Message

from holdfast_chassis.entropy import Entropy
from holdfast_gateway import codec
from holdfast_gateway.exchange import Headers, Transport
from holdfast_gateway.problems import Problem, ProblemError

MEDIA_TYPE = "text/event-stream"
HEADERS: Headers = [
    ("content-type", MEDIA_TYPE),
    ("cache-control", "no-store"),
    # Otherwise nginx would collect events until its buffer is full.
    ("x-accel-buffering", "no"),
]
_RESUME_TOKEN = "resume_token"  # noqa: S105 - the name of a field
_HEARTBEAT = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The heartbeat of a stream, its maximum size, and the delay before a client resumes.

    `retry_seconds` is the minimum; clients get up to three times as long, so that they do not return together.
    """

    heartbeat_seconds: float
    retry_seconds: float
    size_bytes: int


class EventStream:
    """A stream of the results of `read`, until it returns None, the client disconnects or `ending` is set.

    The HTTP server buffers everything for a slow client. So a stream ends by itself after `size_bytes`; the client
    returns with Last-Event-ID and misses nothing.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Message | None]],
        limits: StreamLimits,
        ending: asyncio.Event,
        entropy: Entropy,
    ) -> None:
        self._entropy = entropy
        self._read = read
        self._limits = limits
        self._ending = ending

    async def send(self, transport: Transport, first: Message, headers: Headers, instance: str) -> None:
        """Send the first event and all that follow. A failure becomes an event, because the status has been sent."""
        gone = asyncio.ensure_future(transport.client_gone())
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            await transport.begin(200, headers)
            retry = b"retry: %d\n\n" % int(self._limits.retry_seconds * self._entropy.uniform(1000, 3000))
            await transport.push(retry + event_of(first))
            await self._follow(transport, gone, ending, instance)
            await transport.end()
        finally:
            gone.cancel()
            ending.cancel()

    async def _follow(
        self, transport: Transport, gone: "asyncio.Future[None]", ending: "asyncio.Future[Any]", instance: str
    ) -> None:
        sent_bytes = 0
        reading: asyncio.Future[Any] | None = None
        try:
            while sent_bytes < self._limits.size_bytes:
                reading = reading or asyncio.ensure_future(self._read())
                done, _ = await asyncio.wait(
                    {reading, gone, ending},
                    timeout=self._limits.heartbeat_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if gone in done or ending in done:
                    return
                if reading not in done:
                    piece, more = _HEARTBEAT, True
                else:
                    piece, more = _outcome(reading, instance)
                    reading = None
                await transport.push(piece)
                if not more:
                    return
                sent_bytes += len(piece)
        finally:
            if reading is not None:
                reading.cancel()


def _outcome(reading: "asyncio.Future[Message | None]", instance: str) -> tuple[bytes, bool]:
    """Return the text to send for the result of a read, and whether there can be more."""
    try:
        message = reading.result()
    except ProblemError as error:
        return _error_event(error.problem, instance), False
    return (event_of(message), True) if message is not None else (b"", False)


def event_of(message: Message) -> bytes:
    """Return the message as an event, named by its oneof, with its resume token as the id."""
    lines = []
    token: str = getattr(message, _RESUME_TOKEN, "")
    if token:
        lines.append(b"id: " + token.encode())
    oneofs = message.DESCRIPTOR.oneofs
    name = message.WhichOneof(oneofs[0].name) if oneofs else None
    if name:
        lines.append(b"event: " + name.encode())
    lines.append(b"data: " + orjson.dumps(codec.encode(message)))
    return b"\n".join(lines) + b"\n\n"


def _error_event(problem: Problem, instance: str) -> bytes:
    return b"event: error\ndata: " + problem.body(instance) + b"\n\n"
