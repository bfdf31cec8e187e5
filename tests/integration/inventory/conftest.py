"""Replicas of the service's inside, without its outside, on one database."""

import uuid
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import pytest

from holdfast_inventory.domain.commands import Confirm, Create, Release
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.domain.sale import NewItem, NewSale
from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.stock.stock_ledger import StockLedger
from holdfast_inventory.watches.feed import FeedLimits, StockFeed

SALE = "drop-1"


class Unmeasured:
    def on_batch(self, size, seconds):
        pass

    def on_waited(self, seconds):
        pass

    def refused_from_memory(self):
        pass


class Replica:
    """Catalog, ledger and feed, wired as in the service."""

    def __init__(self, database_url, feed_limits):
        self.listeners = []
        self.database = Database(database_url, DatabaseLimits(writers=2, readers=4))
        self.catalog = Catalog(self.database, self.on_committed)
        self.ledger = StockLedger(
            PostgresSaleStore(self.database), GroupCommitLimits(), Unmeasured(), self.on_committed
        )
        self.feed = StockFeed(self.catalog, feed_limits)

    def on_committed(self, change):
        self.feed.on_committed(change)
        for listener in self.listeners:
            listener(change)

    async def put_up(self, sale_id=SALE, hold_seconds=60, **on_hand):
        items = tuple(NewItem(item_id, units, 0) for item_id, units in on_hand.items())
        hold_time = timedelta(seconds=hold_seconds)
        return await self.catalog.create_sale(NewSale(sale_id, None, None, 0, hold_time, hold_time, items))

    async def hold(self, *item_ids, quantity=1, sale_id=SALE):
        lines = tuple(Line(item_id, quantity) for item_id in item_ids)
        create = Create(uuid.uuid4(), "c-1", lines, None, False, False, "", b"meaning")
        return (await self.ledger.execute(sale_id, create, None)).reservation.reservation_id

    async def confirm(self, reservation_id, sale_id=SALE):
        await self.ledger.execute(sale_id, Confirm(reservation_id, "o-1", False, ""), None)

    async def release(self, reservation_id, sale_id=SALE):
        await self.ledger.execute(sale_id, Release(reservation_id, ""), None)

    async def stop(self):
        await self.feed.end_watches()
        await self.ledger.stop(timeout_seconds=5)
        await self.database.close()


@pytest.fixture
async def start_replica(database_url):
    async with AsyncExitStack() as stack:

        async def start(**feed_limits):
            replica = Replica(database_url, FeedLimits(**feed_limits))
            stack.push_async_callback(replica.stop)
            await replica.database.open(patience_seconds=10)
            return replica

        yield start


@pytest.fixture
async def replica(start_replica):
    return await start_replica()


@pytest.fixture
async def sql(database_url):
    """A connection to the test's database, to look behind and to plant faults."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
