"""The store of sales, in PostgreSQL: each batch is a transaction under its sale's lock."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from holdfast_inventory.domain.commands import Command, Transfer
from holdfast_inventory.domain.decide import Decision, State
from holdfast_inventory.domain.errors import DatabaseUnavailable, NotFound, OutcomeUnknown
from holdfast_inventory.postgres.batch import SQL, append, lock_sale, read_state
from holdfast_inventory.postgres.database import Database, Writer


@dataclass(frozen=True, slots=True)
class _Batch:
    writer: Writer
    state: State

    async def commit(self, decision: Decision) -> None:
        if not decision.is_empty:
            await append(self.writer.connection, self.state, decision)
        # Even if there was nothing to append: the lock itself makes the commit wait for the disk and the standby.
        await self.writer.commit()


@dataclass(frozen=True, slots=True)
class _TransferBatch:
    writer: Writer
    source: State
    destination: State

    async def commit(self, taken: Decision, given: Decision) -> None:
        for state, decision in ((self.source, taken), (self.destination, given)):
            if not decision.is_empty:
                await append(self.writer.connection, state, decision)
        await self.writer.commit()


class PostgresSaleStore:
    """A `ports.SaleStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self, sale_id: str, commands: Sequence[Command], due_limit: int) -> AsyncIterator[_Batch]:
        """Locks the sale, then reads."""
        async with self._database.writer() as writer:
            await writer.begin()
            sale = await lock_sale(writer.connection, sale_id)
            yield _Batch(writer, await read_state(writer.connection, sale, commands, due_limit))

    @asynccontextmanager
    async def open_transfer(self, command: Transfer, due_limit: int) -> AsyncIterator[_TransferBatch]:
        """Locks both sales, in the order of their ids, so that two transfers cannot wait for each other."""
        sale_ids = {command.source_sale_id, command.destination_sale_id}
        async with self._database.writer() as writer:
            await writer.begin()
            connection = writer.connection
            sales = {sale_id: await lock_sale(connection, sale_id) for sale_id in sorted(sale_ids)}
            source = await read_state(
                connection,
                sales[command.source_sale_id],
                [],
                due_limit,
                stock_change_ids=[command.change_id],
                item_ids=[command.source_item_id],
            )
            destination = await read_state(
                connection, sales[command.destination_sale_id], [], 1, item_ids=[command.destination_item_id]
            )
            yield _TransferBatch(writer, source, destination)

    async def bound_ids(self, sale_id: str, ids: Collection[UUID]) -> set[UUID]:
        """Without the lock."""
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["read_bound_ids"], sale_id, list(ids))
        return {row["reservation_id"] for row in rows}

    async def salt(self, sale_id: str) -> bytes:
        """Reads under the weakest lock, whose commit waits for the standby: what is visible may not be there yet.

        A failover could undo the sale otherwise, and the same sale could come again with another salt.
        """
        try:
            async with self._database.writing() as connection:
                salt: bytes | None = await connection.fetchval(SQL["read_salt"], sale_id)
        except OutcomeUnknown as fault:
            raise DatabaseUnavailable from fault
        if salt is None:
            raise NotFound(f"sales/{sale_id}")
        return salt
