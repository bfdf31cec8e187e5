"""The link between a service and its database, which can delay requests."""

import asyncio
import threading
from asyncio import StreamReader, StreamWriter

import uvloop

from lab.kit.link import CHUNK_BYTES, Connection, Ends, Link

_START_SECONDS = 10


class LateLink(Link):
    """A link that delays requests but not answers: one delay for each round trip, not two that are rounded up."""

    request_delay_seconds = 0.0

    def connection(self, caller: Ends) -> Connection:
        return _Late(self, caller)


class _Late(Connection):
    link: LateLink

    async def pump_requests(self, reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.link.request_delay_seconds:
                await asyncio.sleep(self.link.request_delay_seconds)
            await self.forward(data, writer, self.link.requests_flow)


class DatabaseLink:
    """Such a link on its own thread, to the database on `port`. Within `with`, `link.port` leads there."""

    def __init__(self, port: int) -> None:
        self.link = LateLink("database", port)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> LateLink:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.link.start(), self._loop).result(_START_SECONDS)
        return self.link

    def __exit__(self, *exception: object) -> None:
        asyncio.run_coroutine_threadsafe(self.link.close(), self._loop).result(_START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)
        self._loop.close()
