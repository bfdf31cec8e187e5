"""Connections to PostgreSQL: dedicated writers, and a pool of readers.

Writers are not in a pool: its reset would cost a round trip per batch, and it would cancel queries, but a COMMIT must
never be cancelled. If a writer does not finish in time, its connection is closed without a cancel request, which could
hit the wrong statement. See ADR 5.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import asyncpg

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.lifecycle import CannotStartError
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tracing import Statement, statements
from holdfast_inventory.domain.errors import DatabaseUnavailable, OutcomeUnknown
from holdfast_inventory.ports import InDoubt, NotApplied, Rejected, StoreFault
from holdfast_inventory.postgres.database_url import KeepAlive, parse_database_url
from holdfast_inventory.postgres.faults import classify, explained, keeps_connection
from holdfast_inventory.postgres.preconditions import (
    READER_SESSION,
    WRITER_SESSION,
    prepare,
    require_own_sessions,
)
from holdfast_inventory.postgres.statements import name_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

log = get_logger("holdfast.database")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

_APPLICATION_NAME = "holdfast-inventory"


class UnavailableError(CannotStartError):
    """The server could not be reached in time."""


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """The numbers of connections, and time limits in seconds."""

    writers: int = 4
    readers: int = 8
    connect_seconds: float = 2.0
    acquire_seconds: float = 2.0
    read_seconds: float = 5.0
    transaction_seconds: float = 5.0


class Driver(Protocol):
    """The functions of asyncpg that make connections. The simulation implements them, too."""

    def connect(self, dsn: str, *, timeout: float, server_settings: dict[str, str]) -> Awaitable[asyncpg.Connection]:
        """Make a connection."""
        ...

    def create_pool(
        self,
        dsn: str,
        *,
        min_size: int,
        max_size: int,
        timeout: float,
        command_timeout: float,
        server_settings: dict[str, str],
        init: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]],
        reset: Callable[[asyncpg.Connection], Coroutine[Any, Any, None]],
    ) -> Awaitable[asyncpg.Pool]:
        """Make a pool, and its first connections."""
        ...


class Writer:
    """A connection that writes, and the state of its transaction. It rolls back what is not committed."""

    __slots__ = ("_conclude", "committing", "connection", "is_open")

    def __init__(self, connection: asyncpg.Connection, conclude: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.connection = connection
        self.is_open = False
        self.committing: asyncio.Task[Any] | None = None
        """The commit in progress, whose outcome is not known yet."""
        self._conclude = conclude

    async def begin(self, sql: str = "BEGIN") -> None:
        """Begin a transaction and execute the statements after its BEGIN, all in one string."""
        self.is_open = True
        await self.connection.execute(sql)

    async def commit(self) -> None:
        """Commit the transaction, as in `commit_by`."""
        await self.commit_by("COMMIT")

    async def commit_by(self, sql: str, *arguments: object) -> object:
        """Execute one statement that commits, and return its first value.

        If the caller is cancelled, this raises at once, but the commit continues to its end. Raises the database's
        error, and `InDoubt` if the commit succeeded but is not durable.
        """
        if self.connection.is_closed():
            raise asyncpg.InterfaceError("the connection was lost before the commit")
        self.is_open = False
        self.committing = asyncio.ensure_future(self._conclude(self.connection, sql, arguments))
        value = await asyncio.shield(self.committing)
        self.committing = None
        return value


class Database:
    """One PostgreSQL database. Call `open` first; `close` may be called at any time."""

    def __init__(
        self,
        url: str,
        limits: DatabaseLimits,
        *,
        allow_unsafe_durability: bool = False,
        on_query: Callable[[str, float], None] = lambda _name, _seconds: None,
        entropy: Entropy = SYSTEM_ENTROPY,
        driver: Driver = asyncpg,
    ) -> None:
        """`on_query` is called with the name of each statement and the seconds that it took.

        Raises `ValueError` for a URL that is invalid or not supported.
        """
        self._target = parse_database_url(url)
        self._driver = driver
        self._limits = replace(limits, connect_seconds=self._target.connect_seconds or limits.connect_seconds)
        self._about = {"application_name": self._target.application_name or _APPLICATION_NAME}
        self._allow_unsafe_durability = allow_unsafe_durability
        self._on_query = on_query
        self._entropy = entropy
        self._pool: asyncpg.Pool | None = None
        self._idle_writers: list[asyncpg.Connection] = []
        self._busy_writers: set[asyncpg.Connection] = set()
        self._new_writers: set[asyncio.Task[asyncpg.Connection]] = set()
        self._warned: set[asyncpg.Connection] = set()
        self._warned_of: set[str] = set()
        self._writer_places = asyncio.Semaphore(limits.writers)
        self._releases: set[asyncio.Task[None]] = set()
        self._closed = False

    async def open(self, patience_seconds: float) -> None:
        """Connect. Wait up to `patience_seconds` for a server that starts late.

        Raises `UnavailableError`, and without waiting `UnsafeServerError` and `UnusableDatabaseError`.
        """
        fault: StoreFault | None = None
        try:
            async with asyncio.timeout(patience_seconds):
                while True:
                    fault = await self._try_to_open(fault)
                    if fault is None:
                        return
                    await asyncio.sleep(self._entropy.uniform(0.1, 0.3))
        except TimeoutError:
            reason = fault or "it does not answer"
            raise UnavailableError(f"no database within {patience_seconds:g} s: {reason}") from fault
        finally:
            if self._pool is None:
                self._drop_idle_writers()

    async def close(self) -> None:
        """Close every connection, including those in use."""
        self._closed = True
        if self._releases:
            await asyncio.wait(self._releases, timeout=self._limits.transaction_seconds)
        for making in self._new_writers:
            making.cancel()
        for connection in self._busy_writers:
            connection.terminate()
        idle, self._idle_writers = self._idle_writers, []
        farewells = (connection.close(timeout=self._limits.connect_seconds) for connection in idle)
        await asyncio.gather(*farewells, return_exceptions=True)
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                async with asyncio.timeout(self._limits.connect_seconds):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    async def ping(self) -> None:
        """Check that the server answers. Raises `DatabaseUnavailable`."""
        async with self.reading() as connection:
            await connection.fetchval("SELECT 1")

    @property
    def use(self) -> dict[str, int]:
        """The numbers of connections by kind: open and busy, of writers and of readers."""
        readers = self._pool.get_size() if self._pool else 0
        idle_readers = self._pool.get_idle_size() if self._pool else 0
        return {
            "writers": len(self._busy_writers) + len(self._idle_writers),
            "writers_busy": len(self._busy_writers),
            "readers": readers,
            "readers_busy": readers - idle_readers,
        }

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Connection]:
        """Yield a pooled connection for reads. Database errors become `DatabaseUnavailable`."""
        if self._pool is None:
            raise DatabaseUnavailable
        try:
            async with self._pool.acquire(timeout=self._limits.acquire_seconds) as connection:
                yield connection
        except Exception as error:
            fault = error if isinstance(error, NotApplied) else classify(error, committing=False)
            if not isinstance(fault, NotApplied):
                raise
            log.warning("read failed", error=repr(error))
            raise DatabaseUnavailable from error

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[asyncpg.Connection]:
        """Yield a transaction for a single caller. Raises `DatabaseUnavailable` and `OutcomeUnknown`.

        Other errors, such as constraint violations, roll the transaction back and are raised unchanged.
        """
        try:
            async with self.writer() as writer:
                await writer.begin()
                yield writer.connection
                await writer.commit()
        except NotApplied as fault:
            raise DatabaseUnavailable from fault
        except InDoubt as fault:
            raise OutcomeUnknown from fault
        except Rejected as fault:
            raise (fault.__cause__ or fault) from None

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Writer]:
        """Yield a connection that writes. Database errors become those of `ports`, with the original as their cause."""
        connection = await self._acquire_writer()
        writer = Writer(connection, self._commit)
        # Terminating the connection makes the pending query fail at once, even on a frozen server.
        watchdog = asyncio.get_running_loop().call_later(self._limits.transaction_seconds, connection.terminate)
        reusable = False
        try:
            yield writer
            await _roll_back(writer)
            reusable = True
        except Exception as error:
            fault = classify(error, committing=writer.committing is not None)
            reusable = await _recovers(writer, error, fault)
            if fault is None:
                raise
            if not reusable and not isinstance(fault, Rejected):
                await self._suspect_others(error)
            raise fault from error
        finally:
            if writer.committing is not None and not writer.committing.done():
                self._release_after(writer.committing, connection, watchdog)
            else:
                watchdog.cancel()
                self._release_writer(connection, reusable=reusable)

    async def _commit(self, connection: asyncpg.Connection, sql: str, arguments: Sequence[object]) -> object:
        """Commit. Raises `InDoubt` if the server committed but no longer waits for its standby.

        No timeout of the server ends that wait: it disables the statement timeout before it commits.
        """
        self._warned.discard(connection)
        value = await (connection.fetchval(sql, *arguments) if arguments else connection.execute(sql))
        if connection in self._warned:
            raise InDoubt("committed with a warning: it no longer waits for synchronous replication")
        return value

    def _heed(self, connection: Connection, message: asyncpg.PostgresLogMessage) -> None:
        # asyncpg reports a warning before it returns the result that follows it.
        if message.severity_en == "WARNING" and connection in self._busy_writers:
            log.warning("the server warns", message=message.message)
            self._warned.add(connection)

    async def _suspect_others(self, error: Exception) -> None:
        # The cause (a restart, a failover or a frozen server) has also broken the other connections.
        self._drop_idle_writers()
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._pool is not None:
            await self._pool.expire_connections()

    def _drop_idle_writers(self) -> None:
        while self._idle_writers:
            self._idle_writers.pop().terminate()

    def _release_after(
        self, committing: asyncio.Task[Any], connection: asyncpg.Connection, watchdog: asyncio.TimerHandle
    ) -> None:
        async def release() -> None:
            await asyncio.wait({committing})
            watchdog.cancel()
            reusable = not committing.cancelled() and committing.exception() is None
            self._release_writer(connection, reusable=reusable)

        task = asyncio.ensure_future(release())
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _acquire_writer(self) -> asyncpg.Connection:
        try:
            async with asyncio.timeout(self._limits.acquire_seconds):
                await self._writer_places.acquire()
        except TimeoutError as error:
            raise NotApplied("no writer connection was free in time") from error
        try:
            connection = await self._idle_or_new_writer()
        except BaseException as error:
            self._writer_places.release()
            fault = classify(error, committing=False)
            if fault is None:
                raise
            raise NotApplied(str(fault)) from error
        self._busy_writers.add(connection)
        return connection

    async def _idle_or_new_writer(self) -> asyncpg.Connection:
        if self._closed:
            raise NotApplied("the database is closed")
        while self._idle_writers:
            connection = self._idle_writers.pop()
            if not connection.is_closed():
                return connection
        return await self._connect()

    def _release_writer(self, connection: asyncpg.Connection, *, reusable: bool) -> None:
        self._busy_writers.discard(connection)
        self._warned.discard(connection)
        self._writer_places.release()
        if reusable and not self._closed and not connection.is_closed():
            self._idle_writers.append(connection)
            return
        connection.terminate()

    async def _try_to_open(self, earlier: StoreFault | None) -> StoreFault | None:
        """Try to connect. Return the reason of a failure that may be temporary, or None."""
        try:
            with explained():
                async with asyncio.timeout(2 * self._limits.connect_seconds):
                    await require_own_sessions(self._new_session)
                self._idle_writers.append(await self._connect())
                self._pool = await self._driver.create_pool(
                    self._target.dsn,
                    min_size=1,
                    max_size=self._limits.readers,
                    timeout=self._limits.connect_seconds,
                    command_timeout=self._limits.read_seconds,
                    server_settings=self._about,
                    init=self._prepare_reader,
                    reset=_leave_as_it_is,
                )
        except CannotStartError:
            raise
        except Exception as error:
            fault = classify(error, committing=False)
            if fault is None:
                raise
            self._drop_idle_writers()
            if earlier is None:
                log.warning("waiting for the database", error=str(fault))
            return fault
        return None

    async def _new_session(self) -> asyncpg.Connection:
        return await self._driver.connect(
            self._target.dsn, timeout=self._limits.connect_seconds, server_settings=self._about
        )

    async def _connect(self) -> asyncpg.Connection:
        """Return a new writer. `close` interrupts this, whatever it waits for."""
        making = asyncio.ensure_future(self._new_writer())
        self._new_writers.add(making)
        making.add_done_callback(self._new_writers.discard)
        try:
            await asyncio.wait((making,))
        except asyncio.CancelledError:
            making.cancel()
            making.add_done_callback(_abandon)
            raise
        if making.cancelled():
            raise NotApplied("the database is closed")
        return making.result()

    async def _new_writer(self) -> asyncpg.Connection:
        connection = await self._new_session()
        await self._prepare(connection, WRITER_SESSION)
        connection.add_log_listener(self._heed)
        return connection

    async def _prepare_reader(self, connection: asyncpg.Connection) -> None:
        await self._prepare(connection, READER_SESSION)

    async def _prepare(self, connection: asyncpg.Connection, session: Mapping[str, str]) -> None:
        try:
            _keep_alive(connection, self._target.keep_alive)
            async with asyncio.timeout(self._limits.connect_seconds):
                unsafe = await prepare(
                    connection,
                    self._target.session(session),
                    self._target.options,
                    allow_unsafe_durability=self._allow_unsafe_durability,
                )
            self._warn_of(unsafe)
            connection.add_query_logger(self._log_query)
        except BaseException:
            # Terminate here, because a pool would say goodbye to a server that may not answer, and wait for it.
            connection.terminate()
            raise

    def _warn_of(self, unsafe: list[str]) -> None:
        for name in set(unsafe) - self._warned_of:
            log.warning("unsafe durability is allowed: acknowledged sales may be lost", setting=name)
        self._warned_of.update(unsafe)

    def _log_query(self, query: asyncpg.connection.LoggedQuery) -> None:
        name = name_of(query.query)
        self._on_query(name, query.elapsed)
        made = statements.get()
        if made is not None:
            made.append(Statement(name, asyncio.get_running_loop().time(), query.elapsed))


async def _roll_back(writer: Writer) -> None:
    if writer.is_open:
        await writer.connection.execute("ROLLBACK")


async def _recovers(writer: Writer, error: Exception, fault: StoreFault | None) -> bool:
    """Roll back. Return whether the connection can be used again after `error`."""
    if fault is not None and (isinstance(fault, InDoubt) or not keeps_connection(error)):
        return False
    with suppress(Exception):
        await _roll_back(writer)
        return True
    return False


async def _leave_as_it_is(_connection: Connection) -> None:
    """Do nothing: no statement of ours changes a session, and RESET ALL would undo its settings."""


def _keep_alive(connection: asyncpg.Connection, wanted: KeepAlive | None) -> None:
    # asyncpg has no options for this. Without it, a peer that died silently keeps a connection for hours.
    sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001
    if sock is None or sock.family == socket.AF_UNIX or wanted is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": wanted.idle_seconds,
        "TCP_KEEPINTVL": wanted.interval_seconds,
        "TCP_KEEPCNT": wanted.count,
        "TCP_USER_TIMEOUT": wanted.unacknowledged_milliseconds,
    }
    for option, value in options.items():
        if value is not None and hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _abandon(making: asyncio.Task[asyncpg.Connection]) -> None:
    """Ignore the result, because no caller waits for it any more."""
    if not making.cancelled() and making.exception() is None:
        making.result().terminate()
