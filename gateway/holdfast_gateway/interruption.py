"""Waits that end early if the client disconnects."""

import asyncio
from types import TracebackType

from holdfast_chassis.alarms import Alarms, TimeLimit
from holdfast_gateway.exchange import ClientGoneError, Transport

# Most calls are answered sooner than this; only the others are worth watching for a disconnect.
_WATCH_AFTER_SECONDS = 0.1


class WhileWaiting(TimeLimit):
    """A context that raises ClientGoneError in its body if the client disconnects."""

    __slots__ = ("_transport", "_watch")

    def __init__(self, alarms: Alarms, transport: Transport) -> None:
        super().__init__(alarms, asyncio.get_running_loop().time() + _WATCH_AFTER_SECONDS, ClientGoneError)
        self._transport = transport
        self._watch: asyncio.Task[None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().__exit__(kind, error, trace)

    def ring(self) -> None:
        """Interrupt the body if the client disconnects."""
        self._watch = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        await self._transport.client_gone()
        self.interrupt()
