"""A store of sales in memory, with only what the stock core needs."""

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
class StoredSale:
    rows: MemoryStore
    revision: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def append(self, decision):
        self.rows.append(decision)
        self.revision += 1


@dataclass
class Batch:
    sale: StoredSale
    state: State
    revision: int
    exclusive: bool

    async def commit(self, decision: Decision):
        if not self.exclusive:
            async with self.sale.lock:
                return self._append(decision)
        return self._append(decision)

    def _append(self, decision):
        if self.sale.revision != self.revision:
            raise Stale
        self.sale.append(decision)


@dataclass
class TransferBatch:
    sales: tuple[StoredSale, StoredSale]
    source: State
    destination: State

    async def commit(self, taken: Decision, given: Decision):
        for sale, decision in zip(self.sales, (taken, given), strict=True):
            sale.append(decision)


class MemorySaleStore:
    """A `ports.SaleStore`."""

    def __init__(self, clock=SYSTEM_CLOCK):
        self._clock = clock
        self._sales = {}

    def put_up(self, new: NewSale):
        """Create a sale with its items and their first stock."""
        self._sales[new.sale_id] = StoredSale(put_up(new, self._clock.now(), new.sale_id.encode().ljust(32, b".")))

    @asynccontextmanager
    async def open(self, sale_id, commands, due_limit, *, exclusive):
        sale = self._sale(sale_id)
        if not exclusive:
            yield self._read(sale, commands, due_limit, exclusive=False)
            return
        async with sale.lock:
            yield self._read(sale, commands, due_limit, exclusive=True)

    @asynccontextmanager
    async def open_transfer(self, command, due_limit):
        source, destination = self._sale(command.source_sale_id), self._sale(command.destination_sale_id)
        first, second = sorted((source, destination), key=lambda sale: sale.rows.sale.sale_id)
        async with first.lock, second.lock:
            states = [self._read(sale, [command], due_limit, exclusive=True).state for sale in (source, destination)]
            yield TransferBatch((source, destination), *states)

    async def bound_ids(self, sale_id, ids):
        return set(ids) & set(self._sale(sale_id).rows.reservations)

    async def salt(self, sale_id):
        return self._sale(sale_id).rows.sale.salt

    def _sale(self, sale_id):
        if sale_id not in self._sales:
            raise NotFound(f"sales/{sale_id}")
        return self._sales[sale_id]

    def _read(self, sale, commands, due_limit, *, exclusive):
        sale.rows.due_limit = due_limit
        return Batch(sale, sale.rows.read(commands, self._clock.now()), sale.revision, exclusive)
