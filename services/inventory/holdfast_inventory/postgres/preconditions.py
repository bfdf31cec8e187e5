"""What the promises rest on outside of our own code, and that each new connection is checked for.

Settings of the session are set once the connection is there, rather than with its start, and then read back: a role,
a database or a pooler may have its own idea of them, and none of these says so.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast_inventory.ports import NotApplied
from holdfast_inventory.postgres.statements import load

if TYPE_CHECKING:
    from holdfast_inventory.postgres.database import Connection

SQL = load("preconditions")

# A temporary table that a pooled session was left with must not stand before one of ours.
_TABLES = {"search_path": "public, pg_temp"}

# Reads that were planned while a table was empty must not scan it when it is full; the lock-first scheme reads anew
# in each statement.
READER_SESSION: Mapping[str, str] = _TABLES | {
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
MIGRATION_SESSION: Mapping[str, str] = _TABLES | {"statement_timeout": "15min"}


class UnsafeServerError(NotApplied):
    """The server, or the way to it, does not keep what the promises rest on. Says what to do."""


async def prepare(connection: "Connection", session: Mapping[str, str]) -> None:
    """Gives a new connection its settings, and makes sure that it has them. Raises `UnsafeServerError`."""
    await connection.fetch(SQL["set_session"], list(session), list(session.values()))
    rows = await connection.fetch(SQL["read_settings"], list(session))
    if lost := [row["name"] for row in rows if row["value"] not in (None, session[row["name"]])]:
        raise UnsafeServerError(
            f"{', '.join(lost)}: set, and then not as set. Connect to PostgreSQL itself, or by a pooler that leaves "
            "each session its settings (PgBouncer: pool_mode = session)"
        )
