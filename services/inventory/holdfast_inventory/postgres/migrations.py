"""The schema's migrations: `NNNN_name.up.sql`, and a `.down.sql` that undoes each.

They run on a separate connection, directly to PostgreSQL: the lock that lets one replica at a time migrate belongs to
the session, and a pooler in transaction mode has no sessions.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import asyncpg

from holdfast_chassis.lifecycle import CannotStartError
from holdfast_chassis.logs import get_logger
from holdfast_inventory.ports import NotApplied
from holdfast_inventory.postgres.database_url import parse_database_url
from holdfast_inventory.postgres.faults import classify, explained
from holdfast_inventory.postgres.preconditions import MIGRATION_SESSION, prepare, require_own_sessions
from holdfast_inventory.postgres.statements import load

SQL = load("migrations")

log = get_logger("holdfast.migrations")

_FILE = re.compile(r"(?P<version>\d{4})_(?P<name>\w+)\.up\.sql")
_ONLINE = "-- Not in a transaction:"
"""The beginning of a script that builds indexes while their tables are in use, which PostgreSQL does in no transaction.

Its statements can be executed again after an attempt that was cut off.
"""
_LOCK_KEY = int.from_bytes(hashlib.sha256(b"holdfast schema_migrations").digest()[:8], signed=True)
_CONNECT_SECONDS = 5.0
_RECONNECT_SECONDS = 0.25
_STATEMENT_SECONDS = 900
# While a migration waits for a table's lock, every query behind it waits, too. So give up soon and retry.
_TABLE_LOCK_SECONDS = 0.5
_TABLE_LOCK_PAUSE_SECONDS = 1.0
_TABLE_LOCK_ATTEMPTS = 20


class MigrationError(CannotStartError):
    """The schema cannot be migrated."""


class DatabaseUnreachableError(MigrationError):
    """No connection could be made in time."""


class HistoryDiffersError(MigrationError):
    """The database was migrated with other files than these. The message lists all differences."""


class UnknownVersionError(MigrationError):
    """There is no migration of that version."""


class MigrationBlockedError(MigrationError):
    """A lock was not free in time. The migration had no effect; a retry can help."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A step of the schema, up and down. `version` counts from 1 without gaps."""

    version: int
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """The hash that identifies an applied migration. It excludes the down script, which may be fixed later."""
        return hashlib.sha256(self.up.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


class Step(NamedTuple):
    """A migration to run, up or down."""

    migration: Migration
    direction: Literal["up", "down"]

    @property
    def sql(self) -> str:
        """The statements to run."""
        return self.migration.up if self.direction == "up" else self.migration.down

    @property
    def is_online(self) -> bool:
        """Whether the statements run one by one, in no transaction."""
        return self.sql.startswith(_ONLINE)

    def __str__(self) -> str:
        return f"{self.migration} {self.direction}"


@cache
def known() -> tuple[Migration, ...]:
    """Return the migrations of this release, in order. Raises `ValueError` if a version or a down script is missing."""
    folder = files(__package__).joinpath("migrations")
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".sql")}
    migrations: list[Migration] = []
    for file, up in sorted(texts.items()):
        if match := _FILE.fullmatch(file):
            down = texts.get(file.replace(".up.sql", ".down.sql"))
            if down is None or int(match["version"]) != len(migrations) + 1:
                raise ValueError(f"migrations/{file}: its down.sql or the version before it is missing")
            migrations.append(Migration(int(match["version"]), match["name"], up, down))
    return tuple(migrations)


async def migrate(
    database_url: str,
    to: int | None = None,
    *,
    dry_run: bool = False,
    patience_seconds: float = 60.0,
    migrations: Sequence[Migration] | None = None,
) -> list[Step]:
    """Migrate the schema to version `to`, up or down; by default up to the newest version of this release.

    Each migration is a transaction, unless its script says otherwise. Return the executed steps, or with `dry_run` the
    steps to execute. A schema that is newer than this release stays as it is, so that a release can be rolled back.
    Wait up to `patience_seconds` for the database, and the same time again for another runner; meanwhile a lost
    connection is made again. Raises `CannotStartError`, of which `MigrationError` is a subclass.
    """
    wanted = known() if migrations is None else migrations
    steps: list[Step] = []
    give_up_at = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            connection = await _connect(database_url, patience_seconds)
            await _migrate(connection, wanted, to, steps, dry_run=dry_run, patience_seconds=patience_seconds)
        except Exception as error:
            is_lost = isinstance(classify(error, committing=False), NotApplied)
            if not is_lost or asyncio.get_running_loop().time() >= give_up_at:
                raise
            # A migration and its history row are applied together or not at all, so the remaining steps can be read
            # again.
            log.warning("the connection was lost during a migration", error=str(error))
            await asyncio.sleep(_RECONNECT_SECONDS)
        else:
            return steps


async def _migrate(
    connection: asyncpg.Connection,
    migrations: Sequence[Migration],
    to: int | None,
    steps: list[Step],
    *,
    dry_run: bool,
    patience_seconds: float,
) -> None:
    """Execute the remaining steps, append them to `steps`, and close the connection."""
    try:
        if not dry_run:
            await _lock(connection, patience_seconds)
            with explained():
                await connection.execute(SQL["create_history"])
        for step in plan(migrations, await _history(connection), to):
            if not dry_run:
                await _run(connection, step)
            steps.append(step)
    finally:
        with suppress(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            await connection.close(timeout=_CONNECT_SECONDS)


async def pending(connection: asyncpg.Connection) -> list[Migration]:
    """Return the migrations of this release that the database lacks. Empty if its schema is as new, or newer.

    Raises `HistoryDiffersError`, and `UnusableDatabaseError` if the user may not read the history.
    """
    with explained():
        history = await _history(connection)
    return [step.migration for step in plan(known(), history, None)]


def plan(migrations: Sequence[Migration], applied: Mapping[int, str], to: int | None) -> list[Step]:
    """Return the steps from `applied` (checksums by version) to version `to`.

    Raises `HistoryDiffersError` and `UnknownVersionError`.
    """
    newest = migrations[-1].version
    if to is not None and not 0 <= to <= newest:
        raise UnknownVersionError(f"there is no version {to}: this release knows 0 to {newest}")
    problems = _differences(migrations, applied)
    if to is not None:
        problems += [
            f"version {version} belongs to a newer release; only that release can undo it"
            for version in sorted(applied)
            if version > newest
        ]
    if problems:
        raise HistoryDiffersError("; ".join(problems))
    target = newest if to is None else to
    ups = [Step(each, "up") for each in migrations if each.version not in applied and each.version <= target]
    downs = [Step(each, "down") for each in reversed(migrations) if each.version in applied and each.version > target]
    return ups + downs


def _differences(migrations: Sequence[Migration], applied: Mapping[int, str]) -> list[str]:
    last_applied = max(applied, default=0)
    problems = []
    for migration in migrations:
        checksum = applied.get(migration.version)
        if checksum is None and migration.version < last_applied:
            problems.append(f"{migration} was never applied, but version {last_applied} was")
        elif checksum is not None and checksum != migration.checksum:
            problems.append(f"{migration}.up.sql has changed since it was applied")
    return problems


async def _connect(database_url: str, patience_seconds: float) -> asyncpg.Connection:
    reason = ""
    try:
        async with asyncio.timeout(patience_seconds):
            while True:
                try:
                    return await _new_connection(database_url, patience_seconds)
                except Exception as error:
                    if not isinstance(fault := classify(error, committing=False), NotApplied):
                        raise
                    if not reason:
                        log.warning("waiting for the database", error=str(fault))
                    reason = str(fault)
                await asyncio.sleep(_RECONNECT_SECONDS)
    except TimeoutError as error:
        reason = reason or "it does not answer"
        raise DatabaseUnreachableError(f"no database within {patience_seconds:g} s: {reason}") from error


async def _new_connection(database_url: str, patience_seconds: float) -> asyncpg.Connection:
    target = parse_database_url(database_url)

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(
            target.dsn,
            timeout=target.connect_seconds or _CONNECT_SECONDS,
            # The server's own limit comes first; this one is for a server that no longer answers.
            command_timeout=_STATEMENT_SECONDS + 2 * patience_seconds,
            server_settings={"application_name": target.application_name or "holdfast-migrate"},
        )

    with explained():
        await require_own_sessions(connect)
        connection = await connect()
        try:
            # A migration acknowledges nothing that could be lost.
            session = target.session(MIGRATION_SESSION)
            await prepare(connection, session, target.options, allow_unsafe_durability=True)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def _lock(connection: asyncpg.Connection, patience_seconds: float) -> None:
    give_up_at = asyncio.get_running_loop().time() + patience_seconds
    while not await connection.fetchval(SQL["try_to_lock_migrations"], _LOCK_KEY):
        if asyncio.get_running_loop().time() >= give_up_at:
            raise MigrationBlockedError(f"another migration has been running for {patience_seconds:g} s")
        await asyncio.sleep(_RECONNECT_SECONDS)
    await connection.execute(SQL["set_lock_timeout"], _milliseconds(_TABLE_LOCK_SECONDS))


async def _history(connection: asyncpg.Connection) -> dict[int, str]:
    if not await connection.fetchval(SQL["has_history"]):
        return {}
    return {row["version"]: row["checksum"] for row in await connection.fetch(SQL["read_history"])}


async def _run(connection: asyncpg.Connection, step: Step) -> None:
    if step.is_online:
        await _run_online(connection, step)
        return
    for _ in range(_TABLE_LOCK_ATTEMPTS):
        try:
            async with connection.transaction():
                await connection.execute(step.sql)
                await _record(connection, step)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            log.warning("migration is blocked", step=str(step), error=str(error))
            await asyncio.sleep(_TABLE_LOCK_PAUSE_SECONDS)
        else:
            log.info("migrated", step=str(step))
            return
    raise MigrationBlockedError(f"{step} found a table locked {_TABLE_LOCK_ATTEMPTS} times; it had no effect")


async def _run_online(connection: asyncpg.Connection, step: Step) -> None:
    # No query waits behind these statements, and they must wait for transactions that are older than they are.
    await connection.execute(SQL["set_lock_timeout"], _milliseconds(_STATEMENT_SECONDS))
    for statement in step.sql.strip().removesuffix(";").split(";\n"):
        await connection.execute(statement)
    await _record(connection, step)
    await connection.execute(SQL["set_lock_timeout"], _milliseconds(_TABLE_LOCK_SECONDS))
    log.info("migrated", step=str(step))


async def _record(connection: asyncpg.Connection, step: Step) -> None:
    migration = step.migration
    if step.direction == "down":
        await connection.execute(SQL["forget_migration"], migration.version)
    else:
        await connection.execute(SQL["record_migration"], migration.version, migration.name, migration.checksum)


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
