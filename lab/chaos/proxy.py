"""A small TCP proxy for one link, which can delay, drip, black-hole either way, reset and cut it, and aim elsewhere.

What is sent into a black hole is not lost: it arrives when the hole is closed, as TCP sends again what nobody
acknowledged. So whoever gave up meanwhile may be answered, or obeyed, late.
"""

import asyncio
import socket
import struct
from contextlib import suppress

from holdfast_devstack.ports import LOOPBACK

_CHUNK_BYTES = 65_536
_DRIP_BYTES = 16
_DRIP_SECONDS = 0.005
_CONNECT_SECONDS = 2.0
_NO_LINGERING = struct.pack("ii", 1, 0)  # A close then resets the connection.
_ACCEPT_TURNS = 10
"""More turns of the event loop than pass between accepting a connection and serving it."""


async def last_arrivals():
    """Returns when nobody can be on the way any more from a server that was closed to what serves its connections."""
    for _ in range(_ACCEPT_TURNS):
        await asyncio.sleep(0)


class Link:
    """A link from one process to another. `start` first, `close` last; faults may be set at any time."""

    def __init__(self, name, port):
        """`port` is where the other end listens, at the moment."""
        self.name = name
        self.port = 0
        """Where it is dialled."""
        self._target = port
        self._server = None
        self._pairs = {}
        self.heal()

    @property
    def address(self):
        return f"{LOOPBACK}:{self.port}"

    async def start(self):
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self):
        self._server.close()
        self.heal()
        self.accepts = False
        await last_arrivals()
        self.reset()
        await asyncio.gather(*self._pairs.values(), return_exceptions=True)

    def aim(self, port):
        """From now on it leads there; whoever is connected is cut off."""
        self._target = port
        self.reset()

    def heal(self):
        """As good as new, for those who are connected, too."""
        self.delay_seconds = 0.0
        self.drips = False
        self.accepts = True
        self.requests_flow, self.answers_flow = _flowing(self, "requests_flow"), _flowing(self, "answers_flow")

    def swallow_requests(self):
        self.requests_flow.clear()

    def swallow_answers(self):
        self.answers_flow.clear()

    def cut(self):
        """Nobody gets through any more, and who was connected is reset."""
        self.accepts = False
        self.reset()

    def reset(self):
        """Resets each open connection, at both ends."""
        for pair in list(self._pairs):
            pair.reset()

    async def _serve(self, reader, writer):
        if not self.accepts:
            writer.transport.abort()
            return
        pair = _Pair(self, reader, writer)
        self._pairs[pair] = asyncio.current_task()
        try:
            await pair.run(self._target)
        finally:
            del self._pairs[pair]


def _flowing(link, name):
    """An event that is set: the one that whoever waits in a black hole waits for, if there is one."""
    event = getattr(link, name, None) or asyncio.Event()
    event.set()
    return event


class _Pair:
    """A caller's connection, and the one to the other end that belongs to it."""

    def __init__(self, link, reader, writer):
        self._link = link
        self._caller = reader, writer
        self._other = None

    async def run(self, port):
        pumps = []
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                self._other = await asyncio.open_connection(LOOPBACK, port)
            pumps = [
                asyncio.ensure_future(self._pump(self._caller[0], self._other[1], self._link.requests_flow)),
                asyncio.ensure_future(self._pump(self._other[0], self._caller[1], self._link.answers_flow)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, TimeoutError):
            pass
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.reset()

    def reset(self):
        for _, writer in filter(None, (self._caller, self._other)):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            writer.transport.abort()

    async def _pump(self, reader, writer, flow):
        link = self._link
        while data := await reader.read(_CHUNK_BYTES):
            if link.delay_seconds:
                await asyncio.sleep(link.delay_seconds)
            if link.drips:
                await _drip(link, data, writer)
                continue
            if not flow.is_set():
                await flow.wait()
            writer.write(data)
            await writer.drain()


async def _drip(link, data, writer):
    for begin in range(0, len(data), _DRIP_BYTES):
        writer.write(data[begin : begin + _DRIP_BYTES])
        await writer.drain()
        if link.drips:
            await asyncio.sleep(_DRIP_SECONDS)
