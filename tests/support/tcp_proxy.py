"""A TCP proxy in front of PostgreSQL that delays, throttles, freezes, resets, and disturbs commits."""

from collections import deque
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from lab.kit.link import CHUNK_BYTES, Connection, Link

SSL_REQUEST, CANCEL_REQUEST, GSS_REQUEST = 80877103, 80877102, 80877104


@asynccontextmanager
async def tcp_proxy(url):
    """Provide a proxy to the server of a database URL. `proxy.url` goes through it."""
    proxy = TcpProxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


class TcpProxy(Link):
    drip_bytes, drip_seconds = 1, 0.0

    def __init__(self, url):
        self._database_url = url
        self._at_commits = deque()
        super().__init__("postgresql", urlsplit(url).port)

    @property
    def url(self):
        return self.through(self._database_url)

    def freeze(self):
        """Drop both directions: nothing is closed, nothing arrives."""
        self.swallow_requests()
        self.swallow_answers()

    def thaw(self):
        self.requests_flow.set()
        self.answers_flow.set()

    def at_next_commits(self, *actions):
        """Disturb the next commits in turn, by `lose_commit`, `lose_answer` or another coroutine function of
        the connection, which returns whether the commit is forwarded to the server."""
        self._at_commits.extend(actions)

    async def meddle(self, connection):
        return not self._at_commits or await self._at_commits.popleft()(connection)

    def connection(self, caller):
        return PostgresConnection(self, caller)


async def lose_commit(connection):
    """Break the connection before the server gets the commit."""
    connection.reset()
    return False


async def lose_answer(connection):
    """Let the server commit, and break the connection before the answer arrives."""
    connection.loses_answer = True
    return True


class PostgresConnection(Connection):
    loses_answer = False

    async def pump_requests(self, reader, writer):
        messages, commits = FrontendMessages(), Commits()
        while data := await reader.read(CHUNK_BYTES):
            for message in messages.split(data):
                if commits.has_come(message) and not await self.link.meddle(self):
                    return
                await self.forward(message, writer, self.link.requests_flow)

    async def pump_answers(self, reader, writer):
        while (data := await reader.read(CHUNK_BYTES)) and not self.loses_answer:
            await self.forward(data, writer, self.link.answers_flow)


class FrontendMessages:
    """Splits a PostgreSQL client's bytes into messages. Those until the startup message have no type byte."""

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


class Commits:
    """Finds commits among a client's messages: COMMIT, and a batch's append outside a transaction."""

    def __init__(self):
        self._appends = set()
        self._in_transaction = False

    def has_come(self, message):
        kind, parts = message[:1], message[5:].split(b"\0", 2)
        if kind == b"P" and b"is_appended" in parts[1]:
            self._appends.add(parts[0])
        if kind == b"Q":
            self._in_transaction = parts[0].startswith(b"BEGIN")
            return parts[0] == b"COMMIT"
        return kind == b"B" and parts[1] in self._appends and not self._in_transaction
