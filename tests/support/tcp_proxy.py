"""A TCP proxy in front of PostgreSQL that delays, drips, freezes, resets, and meddles with a COMMIT."""

import asyncio
import socket
import struct
from collections import deque
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from lab.chaos.proxy import last_arrivals

CHUNK_BYTES = 65_536
SSL_REQUEST, CANCEL_REQUEST, GSS_REQUEST = 80877103, 80877102, 80877104
NO_LINGERING = struct.pack("ii", 1, 0)  # A close then resets the connection.


@asynccontextmanager
async def tcp_proxy(url):
    """A proxy to the server of a database URL. `proxy.url` goes through it."""
    proxy = TcpProxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


class TcpProxy:
    def __init__(self, url):
        self._target = urlsplit(url)
        self._server = None
        self._links = {}
        self._at_commits = deque()
        self.delay_seconds = 0.0
        self.drips = False
        self.accepts = True
        self.linked = asyncio.Event()
        """Set by each new connection."""
        self.refused = asyncio.Event()
        self.to_server_flows, self.to_client_flows = asyncio.Event(), asyncio.Event()
        self.thaw()

    @property
    def url(self):
        credentials, _, _ = self._target.netloc.rpartition("@")
        port = self._server.sockets[0].getsockname()[1]
        return self._target._replace(netloc=f"{credentials}@127.0.0.1:{port}").geturl()

    @property
    def connections(self):
        return len(self._links)

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def stop(self):
        self._server.close()
        self.accepts = False
        await last_arrivals()
        self.thaw()
        self.reset()
        await asyncio.gather(*self._links.values(), return_exceptions=True)
        await self._server.wait_closed()

    def freeze(self):
        """A black hole both ways: nothing is closed, nothing arrives."""
        self.to_server_flows.clear()
        self.to_client_flows.clear()

    def thaw(self):
        self.to_server_flows.set()
        self.to_client_flows.set()

    def reset(self):
        """Resets each open connection."""
        for link in list(self._links):
            link.reset()

    def at_next_commits(self, *actions):
        """What happens to the next COMMITs, one after the other: `lose_commit`, `lose_answer` or another coroutine
        function of the link, which says whether the COMMIT goes on to the server."""
        self._at_commits.extend(actions)

    async def meddle(self, link):
        return not self._at_commits or await self._at_commits.popleft()(link)

    async def _serve(self, reader, writer):
        if not self.accepts:
            self.refused.set()
            writer.transport.abort()
            return
        self.linked.set()
        link = Link(self, reader, writer)
        self._links[link] = asyncio.current_task()
        try:
            await link.run(self._target.hostname, self._target.port)
        finally:
            del self._links[link]


async def lose_commit(link):
    """The connection breaks before the server has seen the COMMIT."""
    link.reset()
    return False


async def lose_answer(link):
    """The server commits, and the connection breaks before anybody learns."""
    link.loses_answer = True
    return True


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, proxy, reader, writer):
        self._proxy = proxy
        self._client = reader, writer
        self._server = None
        self.loses_answer = False

    async def run(self, host, port):
        try:
            self._server = await asyncio.open_connection(host, port)
            pumps = [asyncio.ensure_future(self._to_server()), asyncio.ensure_future(self._to_client())]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            self.reset()

    def reset(self):
        for _, writer in filter(None, (self._client, self._server)):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGERING)
            writer.transport.abort()

    async def _to_server(self):
        messages = FrontendMessages()
        while data := await self._client[0].read(CHUNK_BYTES):
            for message in messages.split(data):
                if is_commit(message) and not await self._proxy.meddle(self):
                    return
                await self._forward(message, self._server[1], self._proxy.to_server_flows)

    async def _to_client(self):
        while data := await self._server[0].read(CHUNK_BYTES):
            if self.loses_answer:
                return
            await self._forward(data, self._client[1], self._proxy.to_client_flows)

    async def _forward(self, data, writer, flows):
        if self._proxy.delay_seconds:
            await asyncio.sleep(self._proxy.delay_seconds)
        for piece in [data[i : i + 1] for i in range(len(data))] if self._proxy.drips else [data]:
            await flows.wait()
            writer.write(piece)
            await writer.drain()
            if self._proxy.drips:
                await asyncio.sleep(0)


class FrontendMessages:
    """Cuts what a client of PostgreSQL sends into messages. Those before and with the startup have no type byte."""

    def __init__(self):
        self._pending = b""
        self._started = False

    def split(self, data):
        self._pending += data
        while len(self._pending) >= (5 if self._started else 8):
            length = self._length()
            if len(self._pending) < length:
                return
            message, self._pending = self._pending[:length], self._pending[length:]
            if not self._started:
                self._started = int.from_bytes(message[4:8]) not in {SSL_REQUEST, CANCEL_REQUEST, GSS_REQUEST}
            yield message

    def _length(self):
        type_bytes = 1 if self._started else 0
        return type_bytes + int.from_bytes(self._pending[type_bytes : type_bytes + 4])


def is_commit(message):
    return message[:1] == b"Q" and b"COMMIT" in message
