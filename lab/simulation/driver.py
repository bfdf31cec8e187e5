"""Clients of the model server, with the interface of asyncpg's connections and pools."""

# ruff: noqa: ASYNC109 -- their timeouts are parameters, as asyncpg's are

import asyncio
import re
from dataclasses import dataclass

import asyncpg

from holdfast_inventory.postgres.statements import name_of
from lab.simulation.faults import Sent

_IN_QUOTES = re.compile(r"'([^']*)'")


@dataclass
class ServerWarning:
    """A message of the server's log, as asyncpg has it."""

    message: str
    severity_en: str = "WARNING"


class ModelDriver:
    """The driver of one process, with its connections to the server."""

    def __init__(self, server, process):
        self._server = server
        self._process = process
        self._connections = []

    async def connect(self, dsn, *, timeout, server_settings):
        server = self._server
        await asyncio.sleep(server.injector.latency())
        refusal = server.injector.refusal()
        if isinstance(refusal, TimeoutError):
            await asyncio.sleep(timeout)
        if refusal is not None:
            server.trace.note(f"no connection: {type(refusal).__name__}")
            raise refusal
        connection = ModelConnection(server, self._process)
        self._connections.append(connection)
        return connection

    async def create_pool(self, dsn, *, min_size, max_size, timeout, command_timeout, server_settings, init, reset):
        async def connect():
            connection = await self.connect(dsn, timeout=timeout, server_settings=server_settings)
            await init(connection)
            return connection

        pool = ModelPool(connect, max_size, command_timeout)
        pool.idle.append(await connect())
        return pool

    def vanish(self):
        """Close all sockets, because the process has ended."""
        for connection in self._connections:
            connection.terminate()

    @property
    def open_connections(self):
        return [connection for connection in self._connections if not connection.is_closed()]


class ModelConnection:
    """A connection, which runs one statement at a time."""

    def __init__(self, server, process):
        self._server = server
        self._process = process
        self._closed = False
        self._pending = None
        self._listeners = []
        self._transport = self  # The product sets keepalive options on its socket.
        self.arrives_at = 0.0
        self.is_severed = False
        self.command_timeout = None
        self.backend = server.new_backend(self)
        self.number = self.backend.number

    def __hash__(self):
        return self.number

    def __eq__(self, other):
        return self is other

    def get_extra_info(self, name):
        return None

    def add_query_logger(self, callback):
        pass

    def add_log_listener(self, callback):
        """Call `callback(connection, message)` for each warning, before the result of its statement is returned."""
        self._listeners.append(callback)

    def warned(self, text):
        for callback in self._listeners:
            callback(self, ServerWarning(text))

    async def execute(self, sql, *arguments, timeout=None):
        await self._ask(sql, arguments, timeout)

    async def fetch(self, sql, *arguments, timeout=None):
        return await self._ask(sql, arguments, timeout)

    async def fetchrow(self, sql, *arguments, timeout=None):
        rows = await self._ask(sql, arguments, timeout)
        return rows[0] if rows else None

    async def fetchval(self, sql, *arguments, timeout=None):
        rows = await self._ask(sql, arguments, timeout)
        return next(iter(rows[0].values())) if rows else None

    def is_closed(self):
        return self._closed

    @property
    def is_asked(self):
        return self._pending is not None

    def terminate(self):
        if not self._closed:
            self._closed = True
            self._server.injector.leave(self._server, self)
            self._fail_pending(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))

    async def close(self, *, timeout=None):
        if self.is_asked:
            self.terminate()
            raise asyncpg.InterfaceError("another operation is in progress")
        self.terminate()
        await asyncio.sleep(0)

    async def _ask(self, sql, arguments, timeout):
        if self._closed:
            raise asyncpg.InterfaceError("connection is closed")
        if self._pending is not None:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")
        answer = asyncio.get_running_loop().create_future()
        name, arguments = _named(sql, arguments)
        sent = self._pending = Sent(name, arguments, self, answer)
        self._server.injector.send(self._server, sent)
        limit = timeout or self.command_timeout
        if limit is None:
            return await answer
        timer = asyncio.get_running_loop().call_later(limit, _time_out, answer)
        try:
            return await answer
        finally:
            timer.cancel()

    # Calls by the server and the network

    def answered(self, sent, outcome):
        if self._pending is not sent:
            return
        if isinstance(outcome, Exception):
            self._fail_pending(outcome)
            return
        if sent.warning is not None:
            self.warned(sent.warning)
        self._pending = None
        if not sent.answer.done():
            sent.answer.set_result(outcome)

    def broken(self, error):
        """Close the connection from the other side."""
        if not self._closed:
            self._closed = True
            self._server.injector.leave(self._server, self)
            self._fail_pending(error)

    def _fail_pending(self, error):
        sent, self._pending = self._pending, None
        if sent is not None and not sent.answer.done() and not self._process.killed:
            sent.answer.set_exception(error)


class ModelPool:
    """A pool, as asyncpg's, without a reset of connections."""

    def __init__(self, connect, max_size, command_timeout):
        self._connect = connect
        self._max_size = max_size
        self._command_timeout = command_timeout
        self._places = asyncio.Semaphore(max_size)
        self._generation = 0
        self._in_use = {}
        self._closing = False
        self.idle = []

    def get_size(self):
        return len(self.idle) + len(self._in_use)

    def get_idle_size(self):
        return len(self.idle)

    def acquire(self, *, timeout):
        return _Acquired(self, timeout)

    def take_idle(self):
        """Return an idle connection, if there is one."""
        self.idle = [connection for connection in self.idle if not connection.is_closed()]
        if not self.idle or self._places.locked() or self._closing:
            return None
        self._places._value -= 1  # As acquire() does, which does not wait in this case either.
        return self._taken(self.idle.pop())

    async def take(self):
        if self._closing:
            raise asyncpg.InterfaceError("pool is closing")
        await self._places.acquire()
        try:
            connection = await self._idle_or_new()
        except BaseException:
            self._places.release()
            raise
        return self._taken(connection)

    async def _idle_or_new(self):
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def _taken(self, connection):
        connection.command_timeout = self._command_timeout
        self._in_use[connection.number] = (connection, self._generation)
        return connection

    def put_back(self, connection):
        _, generation = self._in_use.pop(connection.number)
        # The caller that waited for this answer was cancelled, so a late answer is dropped.
        is_left = connection.is_asked or connection.is_closed()
        if generation == self._generation and not is_left and not self._closing:
            self.idle.append(connection)
        else:
            connection.terminate()
        self._places.release()

    async def expire_connections(self):
        self._generation += 1
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.terminate()

    async def close(self):
        self._closing = True
        for _ in range(self._max_size):
            await self._places.acquire()
        await self.expire_connections()

    def terminate(self):
        self._closing = True
        for connection in [*self.idle, *(connection for connection, _ in self._in_use.values())]:
            connection.terminate()
        self.idle = []


def _named(sql, arguments):
    """Return a statement's name and arguments. A string of several statements contains its arguments."""
    if sql.startswith("BEGIN;"):
        return "begin_locking", tuple(_IN_QUOTES.findall(sql))
    return name_of(sql), arguments


def _time_out(answer):
    if not answer.done():
        answer.set_exception(TimeoutError())


class _Acquired:
    __slots__ = ("_connection", "_pool", "_timeout")

    def __init__(self, pool, timeout):
        self._pool = pool
        self._timeout = timeout

    async def __aenter__(self):
        connection = self._pool.take_idle()
        if connection is None:
            async with asyncio.timeout(self._timeout):
                connection = await self._pool.take()
        self._connection = connection
        return connection

    async def __aexit__(self, *_):
        self._pool.put_back(self._connection)
