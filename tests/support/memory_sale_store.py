"""A store of sales in memory: what the stock core needs of one, and no more."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_inventory.domain.decide import Decision, State
from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.sale import NewSale
from holdfast_inventory.ports import Stale
from tests.property.memory_store import MemoryStore, put_up


@dataclass
class Shelf:
    rows: MemoryStore
    revision: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def append(self, decision):
        self.rows.append(decision)
        self.revision += 1


@dataclass
class Batch:
    shelf: Shelf
    state: State
    revision: int
    exclusive: bool

    async def commit(self, decision: Decision):
        if not self.exclusive:
            async with self.shelf.lock:
                return self._append(decision)
        return self._append(decision)

    def _append(self, decision):
        if self.shelf.revision != self.revision:
            raise Stale
        self.shelf.append(decision)


@dataclass
class TransferBatch:
    shelves: tuple[Shelf, Shelf]
    source: State
    destination: State

    async def commit(self, taken: Decision, given: Decision):
        for shelf, decision in zip(self.shelves, (taken, given), strict=True):
            shelf.append(decision)


class MemorySaleStore:
    """A `ports.SaleStore`."""

    def __init__(self, clock=SYSTEM_CLOCK):
        self._clock = clock
        self._shelves = {}

    def put_up(self, new: NewSale):
        """Creates a sale with its items and their first stock."""
        self._shelves[new.sale_id] = Shelf(put_up(new, self._clock.now(), new.sale_id.encode().ljust(32, b".")))

    @asynccontextmanager
    async def open(self, sale_id, commands, due_limit, *, exclusive):
        shelf = self._shelf(sale_id)
        if not exclusive:
            yield self._read(shelf, commands, due_limit, exclusive=False)
            return
        async with shelf.lock:
            yield self._read(shelf, commands, due_limit, exclusive=True)

    @asynccontextmanager
    async def open_transfer(self, command, due_limit):
        source, destination = self._shelf(command.source_sale_id), self._shelf(command.destination_sale_id)
        first, second = sorted((source, destination), key=lambda shelf: shelf.rows.sale.sale_id)
        async with first.lock, second.lock:
            states = [self._read(shelf, [command], due_limit, exclusive=True).state for shelf in (source, destination)]
            yield TransferBatch((source, destination), *states)

    async def bound_ids(self, sale_id, ids):
        return set(ids) & set(self._shelf(sale_id).rows.reservations)

    async def salt(self, sale_id):
        return self._shelf(sale_id).rows.sale.salt

    def _shelf(self, sale_id):
        if sale_id not in self._shelves:
            raise NotFound(f"sales/{sale_id}")
        return self._shelves[sale_id]

    def _read(self, shelf, commands, due_limit, *, exclusive):
        shelf.rows.due_limit = due_limit
        return Batch(shelf, shelf.rows.read(commands, self._clock.now()), shelf.revision, exclusive)
