"""The store of sales, in PostgreSQL.

A batch reads without a lock, and its append succeeds only if the sale has not changed since: two round trips. An
exclusive batch locks the sale first, and then does the same in a transaction. See ADR 21.
"""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from holdfast_inventory.domain.commands import Command, Transfer
from holdfast_inventory.domain.decide import Decision, State
from holdfast_inventory.domain.errors import DatabaseUnavailable, NotFound, OutcomeUnknown
from holdfast_inventory.ports import Rejected, Stale
from holdfast_inventory.postgres.batch import SQL, Snapshot, append, append_arguments, read
from holdfast_inventory.postgres.database import Database, Writer
from holdfast_inventory.postgres.faults import is_taken
from holdfast_inventory.postgres.statements import arguments

_is_plain = re.compile(r"[A-Za-z0-9._-]+").fullmatch


@dataclass(frozen=True, slots=True)
class _OptimisticBatch:
    writer: Writer
    snapshot: Snapshot

    @property
    def state(self) -> State:
        return self.snapshot.state

    async def commit(self, decision: Decision) -> None:
        if not await self.writer.commit_by(SQL["append"], *append_arguments(self.snapshot, decision)):
            raise Stale("the sale was changed since it was read")


@dataclass(frozen=True, slots=True)
class _ExclusiveBatch:
    writer: Writer
    snapshot: Snapshot

    @property
    def state(self) -> State:
        return self.snapshot.state

    async def commit(self, decision: Decision) -> None:
        await append(self.writer.connection, self.snapshot, decision)
        await self.writer.commit()


@dataclass(frozen=True, slots=True)
class _TransferBatch:
    writer: Writer
    snapshots: tuple[Snapshot, Snapshot]

    @property
    def source(self) -> State:
        return self.snapshots[0].state

    @property
    def destination(self) -> State:
        return self.snapshots[1].state

    async def commit(self, taken: Decision, given: Decision) -> None:
        for snapshot, decision in zip(self.snapshots, (taken, given), strict=True):
            await append(self.writer.connection, snapshot, decision)
        await self.writer.commit()


class PostgresSaleStore:
    """A `ports.SaleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(
        self, sale_id: str, commands: Sequence[Command], due_limit: int, *, exclusive: bool
    ) -> AsyncIterator[_OptimisticBatch | _ExclusiveBatch]:
        """Read on the connection that will append: after a failover, another connection may lead to another server."""
        try:
            async with self._database.writer() as writer:
                if exclusive:
                    await writer.begin(_locking(sale_id))
                snapshot = await read(writer.connection, sale_id, commands, due_limit)
                yield _ExclusiveBatch(writer, snapshot) if exclusive else _OptimisticBatch(writer, snapshot)
        except Rejected as fault:
            if exclusive or not is_taken(fault):
                raise
            raise Stale(str(fault)) from fault

    @asynccontextmanager
    async def open_transfer(self, command: Transfer, due_limit: int) -> AsyncIterator[_TransferBatch]:
        """Lock both sales in the order of their ids, so that two transfers cannot deadlock."""
        async with self._database.writer() as writer:
            connection = writer.connection
            await writer.begin(_locking(*sorted({command.source_sale_id, command.destination_sale_id})))
            source = await read(
                connection,
                command.source_sale_id,
                [],
                due_limit,
                stock_change_ids=[command.change_id],
                units={command.source_item_id: command.quantity},
            )
            destination = await read(
                connection, command.destination_sale_id, [], 1, units={command.destination_item_id: 0}
            )
            yield _TransferBatch(writer, (source, destination))

    async def bound_ids(self, sale_id: str, ids: Collection[UUID]) -> set[UUID]:
        """Read without the lock."""
        values = {"sale_id": sale_id, "reservation_ids": list(ids)}
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["read_bound_ids"], *arguments(SQL["read_bound_ids"], values))
        return {row["reservation_id"] for row in rows}

    async def salt(self, sale_id: str) -> bytes:
        """Read under the weakest lock, because its commit waits for the standby: a visible sale may not be durable yet.

        Otherwise a failover could undo the sale, and it could be created again with another salt.
        """
        try:
            async with self._database.writing() as connection:
                salt: bytes | None = await connection.fetchval(SQL["read_salt"], sale_id)
        except OutcomeUnknown as fault:
            raise DatabaseUnavailable from fault
        if salt is None:
            raise NotFound(f"sales/{sale_id}")
        return salt


def _locking(*sale_ids: str) -> str:
    """Return statements that begin a transaction and lock sales, in one string, which cannot have parameters.

    Raises `NotFound` for an invalid id.
    """
    for sale_id in sale_ids:
        if not _is_plain(sale_id):
            raise NotFound(f"sales/{sale_id}")
    return "; ".join(["BEGIN", *(SQL["lock_sale"].replace("$1", f"'{sale_id}'") for sale_id in sale_ids)])
