"""What the promises rest on outside of our own code: each with a sentence that says what to do where it is not so.

A role, a database, a server or a pooler may have its own idea of each, and none of them says so. So connections are
looked at before the service starts, and each later one before its first use.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from holdfast_chassis.lifecycle import CannotStartError
from holdfast_inventory.ports import NotApplied
from holdfast_inventory.postgres.faults import UnusableDatabaseError
from holdfast_inventory.postgres.statements import load

if TYPE_CHECKING:
    from holdfast_inventory.postgres.database import Connection

SQL = load("preconditions")

_OURS = {
    # That a commit was not replicated is told in a warning.
    "client_min_messages": "warning",
    # Our own limits bound a transaction. The server's would end one that waits for its standby.
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
# Reads that were planned while a table was empty must not scan it when it is full. Each statement reads anew, and an
# append looks at the newest version of its sale: only at this level of isolation.
READER_SESSION: Mapping[str, str] = _OURS | {
    "default_transaction_isolation": "read committed",
    "enable_seqscan": "off",
    "statement_timeout": "2s",
    "lock_timeout": "500ms",
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
}
# Plans are made once and must not depend on how full the tables were then: by index, always.
WRITER_SESSION: Mapping[str, str] = {
    **READER_SESSION,
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
MIGRATION_SESSION: Mapping[str, str] = _OURS | {"statement_timeout": "15min"}

_OLDEST_SERVER = 140000
# With one of these a server may lose, or no longer know, what it has acknowledged.
_UNSAFE_DURABILITY = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "zero_damaged_pages": "on",
    "ignore_checksum_failure": "on",
}
# What the service does in each table.
TABLES = {
    "sales": "SELECT INSERT UPDATE",
    "items": "SELECT INSERT UPDATE",
    "reservations": "SELECT INSERT UPDATE",
    "ledger": "SELECT INSERT",
    "movements": "SELECT",
    "stock_changes": "SELECT INSERT",
    "schedules": "SELECT INSERT UPDATE DELETE",
    "schema_migrations": "SELECT",
}
_CLOSE_SECONDS = 1.0
_USE_SESSIONS = (
    "Connect to PostgreSQL itself, or by a pooler that gives each client a session of its own "
    "(PgBouncer: pool_mode = session)"
)


class UnsafeServerError(NotApplied, CannotStartError):
    """The server, or the way to it, does not keep what the promises rest on. Says what to do."""


async def require_own_sessions(connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
    """Makes sure that two connections have two sessions, and keep them from one transaction to the next.

    It sets nothing: where clients share sessions, they share settings as well. Raises `UnsafeServerError`.
    """
    first, second = await connect(), None
    try:
        second = await connect()
        seen = [await connection.fetchval(SQL["session"]) for connection in (first, second) * 2]
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        # A statement that was prepared in one transaction is not there, or is another client's, in the next.
        seen = []
    finally:
        for connection in filter(None, (first, second)):
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_CLOSE_SECONDS)
    if not seen or seen[:2] != seen[2:] or seen[0] == seen[1]:
        raise UnsafeServerError(f"a pooler shares PostgreSQL's sessions between clients. {_USE_SESSIONS}")


async def prepare(
    connection: "Connection",
    session: Mapping[str, str],
    options: Mapping[str, str],
    *,
    allow_unsafe_durability: bool = False,
) -> list[str]:
    """Gives a new connection its settings, and makes sure that it and the server have what they need.

    `options` are set as well, and not looked at again: PostgreSQL may spell them in another way. Returns what is unsafe
    and allowed. Raises `UnsafeServerError` with all that is not as it must be.
    """
    settings = {**options, **session}
    await connection.fetch(SQL["set_session"], list(settings), list(settings.values()))
    rows = await connection.fetch(SQL["read_settings"], [*session, *_REQUIREMENTS, *_UNSAFE_DURABILITY])
    # What a server does not know, it has no other idea of.
    found = {row["name"]: row["value"] for row in rows if row["value"] is not None}
    unsafe = [name for name, value in _UNSAFE_DURABILITY.items() if found.get(name) == value]
    faults = [*_unmet(found), *_lost(session, found)]
    if not allow_unsafe_durability:
        faults += map(_undurable, unsafe)
    if faults:
        raise UnsafeServerError("; ".join(faults))
    return unsafe


async def require_tables(connection: "Connection") -> None:
    """Makes sure that the tables outlast a crash, and that the user may use them. Raises `UnusableDatabaseError`."""
    rows = await connection.fetch(SQL["unusable_tables"], list(TABLES), list(TABLES.values()))
    if faults := [_unusable(row["name"], is_unlogged=row["is_unlogged"]) for row in rows]:
        raise UnusableDatabaseError("; ".join(faults))


def _unusable(table: str, *, is_unlogged: bool) -> str:
    if is_unlogged:
        return f"the table {table} is emptied by a crash: ALTER TABLE {table} SET LOGGED"
    return f"the user may not use the table {table}: GRANT {TABLES[table].replace(' ', ', ')} ON {table} TO the user"


def _lost(session: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    if lost := [name for name, value in session.items() if found.get(name, value) != value]:
        yield f"{', '.join(lost)}: set, and then not as set. {_USE_SESSIONS}"


def _unmet(found: Mapping[str, str]) -> Iterator[str]:
    for name, requirement in _REQUIREMENTS.items():
        if name in found and (fault := requirement(found[name])):
            yield fault


def _undurable(name: str) -> str:
    return (
        f"the server has {name} = {_UNSAFE_DURABILITY[name]}: it may lose sales that were acknowledged. Turn it "
        f"{'on' if _UNSAFE_DURABILITY[name] == 'off' else 'off'}, or give that up with "
        "HOLDFAST_ALLOW_UNSAFE_DURABILITY=true"
    )


def _too_old(version: str) -> str | None:
    if int(version) >= _OLDEST_SERVER:
        return None
    return f"PostgreSQL 14 or later is needed, this is {int(version) // 10000}"


def _narrow(encoding: str) -> str | None:
    if encoding == "UTF8":
        return None
    return (
        f"the database's encoding is {encoding}: it cannot hold every name and order that the API takes. Make a "
        "database with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
    )


def _translated(encoding: str) -> str | None:
    return None if encoding == "UTF8" else f"the connection's encoding is {encoding}, though UTF8 was asked for"


_REQUIREMENTS: Mapping[str, Callable[[str], str | None]] = {
    "server_version_num": _too_old,
    "server_encoding": _narrow,
    "client_encoding": _translated,
}
