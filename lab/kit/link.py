"""A small TCP proxy for one link. It can delay, throttle, drop either direction, reset, cut and redirect it.

Data that is sent while a direction is dropped is not lost: it arrives when the fault ends, as TCP retransmits it. So
the request of a caller that has given up may be executed, or answered, late.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from holdfast_devstack.ports import LOOPBACK

CHUNK_BYTES = 65_536
_DRIP_BYTES = 16
_DRIP_SECONDS = 0.005
_CONNECT_SECONDS = 2.0
_NO_LINGERING = struct.pack("ii", 1, 0)  # With this option, closing resets the connection.
_ACCEPT_TURNS = 10
"""More turns of the event loop than pass between accepting a connection and serving it."""

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """A link to a server. Call `start` first and `close` last; faults may be set at any time."""

    drip_bytes, drip_seconds = _DRIP_BYTES, _DRIP_SECONDS

    def __init__(self, name: str, port: int) -> None:
        """`port` is the server's, or 0 if it is not known before `aim`."""
        self.name = name
        self.port = 0
        """Its own address, for clients."""
        self.requests_flow, self.answers_flow = asyncio.Event(), asyncio.Event()
        self.connected, self.refused = asyncio.Event(), asyncio.Event()
        """Set by each connection that is accepted, and by each that is refused."""
        self._target = port
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[Any] | None] = {}
        self.heal()

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def through(self, url: str) -> str:
        """Return a URL of the server that leads through the link."""
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{credentials}{at}{self.address}").geturl()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._connections)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self.heal()
        self.accepts = False
        for _ in range(_ACCEPT_TURNS):
            # A connection may have been accepted earlier, and be served only now.
            await asyncio.sleep(0)
        self.reset()
        await asyncio.gather(*filter(None, self._connections.values()), return_exceptions=True)

    def aim(self, port: int) -> None:
        """Lead to another port from now on, and reset open connections."""
        self._target = port
        self.reset()

    def heal(self) -> None:
        """End all faults, of open connections too."""
        self.delay_seconds = 0.0
        self.drips = False
        self.accepts = True
        self.requests_flow.set()
        self.answers_flow.set()

    def swallow_requests(self) -> None:
        self.requests_flow.clear()

    def swallow_answers(self) -> None:
        self.answers_flow.clear()

    def cut(self) -> None:
        """Refuse all connections, and reset open ones."""
        self.accepts = False
        self.reset()

    def reset(self) -> None:
        """Reset each open connection, at both ends."""
        for connection in list(self._connections):
            connection.reset()

    def connection(self, caller: Ends) -> "Connection":
        """Return the connection that carries a new client's bytes."""
        return Connection(self, caller)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepts:
            self.refused.set()
            writer.transport.abort()
            return
        self.connected.set()
        connection = self.connection((reader, writer))
        self._connections[connection] = asyncio.current_task()
        try:
            await connection.run(self._target)
        finally:
            del self._connections[connection]


class Connection:
    """A client's connection, and the connection to the server that belongs to it."""

    def __init__(self, link: Link, caller: Ends) -> None:
        self.link = link
        self._caller = caller
        self._other: Ends | None = None

    async def run(self, port: int) -> None:
        """Carry bytes in both directions until one end closes."""
        pumps: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                self._other = await asyncio.open_connection(LOOPBACK, port)
            pumps = [
                asyncio.create_task(self.pump_requests(self._caller[0], self._other[1])),
                asyncio.create_task(self.pump_answers(self._other[0], self._caller[1])),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, TimeoutError):
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.reset()

    def reset(self) -> None:
        """Reset it, at both ends."""
        for _, writer in filter(None, (self._caller, self._other)):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            writer.transport.abort()

    async def pump_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the client's bytes."""
        while data := await reader.read(CHUNK_BYTES):
            await self.forward(data, writer, self.link.requests_flow)

    async def pump_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry the server's bytes."""
        while data := await reader.read(CHUNK_BYTES):
            await self.forward(data, writer, self.link.answers_flow)

    async def forward(self, data: bytes, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
        """Forward data with the link's present faults."""
        link = self.link
        if link.delay_seconds:
            await asyncio.sleep(link.delay_seconds)
        size = link.drip_bytes if link.drips else len(data)
        for begin in range(0, len(data), size):
            await flow.wait()
            writer.write(data[begin : begin + size])
            await writer.drain()
            if link.drips:
                await asyncio.sleep(link.drip_seconds)
