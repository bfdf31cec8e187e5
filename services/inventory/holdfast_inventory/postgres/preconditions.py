"""The preconditions that the promises have outside of this code. Each failure has a message that says what to do.

A role, a database, a server or a pooler may silently change a setting. So connections are checked before the service
starts, and each later connection before its first use. See ADR 20.
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
    # A warning says that a commit was not replicated.
    "client_min_messages": "warning",
    # The service limits the duration of a transaction. These limits would end one that waits for its standby.
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
# Reads that were planned while a table was empty must not scan it when it is full. Only at this isolation level does
# each statement have its own snapshot, and does an append check the newest version of its sale.
READER_SESSION: Mapping[str, str] = _OURS | {
    "default_transaction_isolation": "read committed",
    "enable_seqscan": "off",
    "statement_timeout": "2s",
    "lock_timeout": "500ms",
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
}
# Plans are made once and must not depend on the size of the tables then: they always use an index.
WRITER_SESSION: Mapping[str, str] = {
    **READER_SESSION,
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
MIGRATION_SESSION: Mapping[str, str] = _OURS | {"statement_timeout": "15min"}

_OLDEST_SERVER = 140000
# With one of these settings a server may lose or corrupt what it has acknowledged.
_UNSAFE_DURABILITY = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "zero_damaged_pages": "on",
    "ignore_checksum_failure": "on",
}
# The privileges that the service needs on each table.
TABLES = {
    "sales": "SELECT INSERT UPDATE",
    "items": "SELECT INSERT UPDATE",
    "reservations": "SELECT INSERT UPDATE",
    "ledger": "SELECT INSERT UPDATE",
    "movements": "SELECT",
    "stock_changes": "SELECT INSERT",
    "changes": "SELECT INSERT",
    "report_checkpoints": "SELECT INSERT UPDATE",
    "refusal_counts": "SELECT INSERT UPDATE DELETE",
    "customer_refusals": "SELECT INSERT UPDATE DELETE",
    "sale_schedules": "SELECT INSERT UPDATE DELETE",
    "webhooks": "SELECT INSERT UPDATE DELETE",
    "webhook_deliveries": "SELECT INSERT UPDATE DELETE",
    "erasures": "SELECT INSERT UPDATE DELETE",
    "schema_migrations": "SELECT",
}
_CLOSE_SECONDS = 1.0
_USE_SESSIONS = (
    "Connect to PostgreSQL directly, or through a pooler that gives each client its own session "
    "(PgBouncer: pool_mode = session)"
)


class UnsafeServerError(NotApplied, CannotStartError):
    """The server, or the connection to it, does not meet a precondition. The message says what to do."""


async def require_own_sessions(connect: Callable[[], Awaitable[asyncpg.Connection]]) -> None:
    """Check that two connections have two sessions, and that each keeps its session across transactions.

    This changes no setting, because clients that share sessions also share settings. Raises `UnsafeServerError`.
    """
    first, second = await connect(), None
    try:
        second = await connect()
        seen = [await connection.fetchval(SQL["session"]) for connection in (first, second) * 2]
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        # A statement that was prepared in one transaction is missing in the next, or belongs to another client.
        seen = []
    finally:
        for connection in filter(None, (first, second)):
            with suppress(
                OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError
            ):
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
    """Set the settings of a new connection, and check the connection and the server.

    `options` are set as well, but not read back: PostgreSQL may normalise their values. Return the unsafe settings
    that are allowed. Raises `UnsafeServerError` with everything that does not meet the preconditions.
    """
    settings = {**options, **session}
    await connection.fetch(SQL["set_session"], list(settings), list(settings.values()))
    rows = await connection.fetch(SQL["read_settings"], [*session, *_REQUIREMENTS, *_UNSAFE_DURABILITY])
    # A setting that the server does not know cannot have a wrong value.
    found = {row["name"]: row["value"] for row in rows if row["value"] is not None}
    unsafe = [name for name, value in _UNSAFE_DURABILITY.items() if found.get(name) == value]
    faults = [*_unmet(found), *_lost(session, found)]
    if not allow_unsafe_durability:
        faults += map(_undurable, unsafe)
    if faults:
        raise UnsafeServerError("; ".join(faults))
    return unsafe


async def require_tables(connection: "Connection") -> None:
    """Check that the tables survive a crash, and the user's privileges on them. Raises `UnusableDatabaseError`."""
    rows = await connection.fetch(SQL["unusable_tables"], list(TABLES), list(TABLES.values()))
    if faults := [_unusable(row["name"], is_unlogged=row["is_unlogged"]) for row in rows]:
        raise UnusableDatabaseError("; ".join(faults))


def _unusable(table: str, *, is_unlogged: bool) -> str:
    if is_unlogged:
        return f"the table {table} is emptied by a crash: ALTER TABLE {table} SET LOGGED"
    return f"the user may not use the table {table}: GRANT {TABLES[table].replace(' ', ', ')} ON {table} TO the user"


def _lost(session: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    if lost := [name for name, value in session.items() if found.get(name, value) != value]:
        yield f"{', '.join(lost)}: was set, but then had another value. {_USE_SESSIONS}"


def _unmet(found: Mapping[str, str]) -> Iterator[str]:
    for name, requirement in _REQUIREMENTS.items():
        if name in found and (fault := requirement(found[name])):
            yield fault


def _undurable(name: str) -> str:
    return (
        f"the server has {name} = {_UNSAFE_DURABILITY[name]}: it may lose sales that were acknowledged. Turn it "
        f"{'on' if _UNSAFE_DURABILITY[name] == 'off' else 'off'}, or accept this with "
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
        f"the database's encoding is {encoding}: it cannot store every name and order that the API accepts. Create a "
        "database with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
    )


def _translated(encoding: str) -> str | None:
    return None if encoding == "UTF8" else f"the connection's encoding is {encoding}, though UTF8 was asked for"


_REQUIREMENTS: Mapping[str, Callable[[str], str | None]] = {
    "server_version_num": _too_old,
    "server_encoding": _narrow,
    "client_encoding": _translated,
}
