"""One request on its way through the gateway, and the reply that it gets."""

import asyncio
from dataclasses import dataclass
from types import TracebackType

from holdfast_gateway.exchange import ClientGoneError, Headers, RequestHeaders, Scope, Transport

# Most calls are answered sooner than this; only for the others is it worth watching whether anybody still waits.
_WATCH_AFTER_SECONDS = 0.1


@dataclass(slots=True)
class Call:
    """What is known of a request. `template` is the path as it is counted and logged."""

    scope: Scope
    transport: Transport
    headers: RequestHeaders
    request_id: str
    traceparent: str
    began_at: float
    template: str = "(unknown)"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; the headers that every answer has are added to it."""

    status: int
    headers: Headers
    body: bytes = b""


class WhileWaiting:
    """`with` it, the current task is cancelled when the client goes; then ClientGoneError is raised."""

    __slots__ = ("_gone", "_task", "_timer", "_transport", "_watch")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._watch: asyncio.Task[None] | None = None
        self._gone = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_SECONDS, self._begin)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._gone and isinstance(error, asyncio.CancelledError) and self._task is not None:
            self._task.uncancel()
            raise ClientGoneError from None

    def _begin(self) -> None:
        self._watch = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self._transport.client_disconnect()
        self._gone = True
        if self._task is not None:
            self._task.cancel()
