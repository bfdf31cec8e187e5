"""The stock core alone, without gRPC: `python -m lab.bench.core <database url> <seconds>` prints one JSON line.

Batches of 64 from 64 callers, against the same callers each with a transaction of its own, on one hot item.
"""

import asyncio
import json
import sys
import time
from uuid import uuid4

import asyncpg
import uvloop

from holdfast_inventory.domain.commands import Create
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.domain.sale import DEFAULT_HOLD_TIME, DEFAULT_MAX_HOLD_TIME, NewItem, NewSale
from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.stock.stock_ledger import StockLedger
from lab.bench.yardsticks import naive_reserve

CALLERS = 64


class Quiet:
    """Metrics that nobody reads."""

    def batch(self, size, seconds): ...
    def waited(self, seconds): ...
    def refused_from_memory(self): ...
    def __getattr__(self, _name):
        return lambda *_arguments: None


async def rate(reserve, seconds):
    """Reservations a second from CALLERS callers."""
    stop = time.perf_counter() + seconds
    made = 0

    async def caller(number):
        nonlocal made
        while time.perf_counter() < stop:
            await reserve(f"c-{number}")
            made += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return made / (time.perf_counter() - began)


async def main(url, seconds):
    database = Database(url, DatabaseLimits())
    await database.open(10)
    ledger = StockLedger(
        PostgresSaleStore(database), GroupCommitLimits(batch_commands=CALLERS), Quiet(), lambda _change: None
    )
    rates = {}
    for name, limit in (("core", 0), ("core_with_customer_limit", 1_000_000_000)):
        sale_id = f"{name.replace('_', '-')}-{uuid4().hex[:8]}"
        items = (NewItem("hot", 2_000_000_000, 0),)
        await Catalog(database, lambda _change: None).create_sale(
            NewSale(sale_id, None, None, limit, DEFAULT_HOLD_TIME, DEFAULT_MAX_HOLD_TIME, items)
        )

        async def reserve(customer, sale_id=sale_id):
            lines = (Line("hot", 1),)
            # Customers that buy once each, as in a drop.
            command = Create(uuid4(), f"{customer}-{uuid4()}", lines, None, False, False, "", b"x" * 16, False)
            await ledger.execute(sale_id, command, None)

        await rate(reserve, seconds / 4)
        rates[name] = await rate(reserve, seconds)
    await ledger.stop(5)
    await database.close()
    async with asyncpg.create_pool(url, min_size=16, max_size=16) as pool:
        rates["naive"] = await rate(lambda customer: naive_reserve(pool, customer, "hot", 1, None), seconds)
    print(json.dumps(rates))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2])))
