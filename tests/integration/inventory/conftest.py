"""Replicas of the service without its server, on one database."""

from contextlib import AsyncExitStack

import pytest

from holdfast_inventory.domain.commands import Confirm, Release
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.watches.feed import FeedLimits, StockFeed
from lab.kit import replica as kit
from tests.support.shopping import hold, new_sale

SALE = "drop-1"


class Replica(kit.Replica):
    """With its feed."""

    def __init__(self, database_url, **feed_limits):
        super().__init__(Database(database_url, DatabaseLimits(writers=2, readers=4)), self.on_committed)
        self.listeners = []
        self.feed = StockFeed(self.catalog, FeedLimits(**feed_limits))

    def on_committed(self, change):
        self.feed.on_committed(change)
        for listener in self.listeners:
            listener(change)

    async def put_up(self, sale_id=SALE, hold_seconds=60, **on_hand):
        return await self.catalog.create_sale(new_sale(sale_id, hold_seconds=hold_seconds, **on_hand))

    async def hold(self, *item_ids, quantity=1, sale_id=SALE):
        command = hold(**dict.fromkeys(item_ids, quantity))
        return (await self.ledger.execute(sale_id, command, None)).reservation.reservation_id

    async def confirm(self, reservation_id, sale_id=SALE):
        await self.ledger.execute(sale_id, Confirm(reservation_id, "o-1", False, ""), None)

    async def release(self, reservation_id, sale_id=SALE):
        await self.ledger.execute(sale_id, Release(reservation_id, ""), None)

    async def __aexit__(self, *error):
        await self.feed.end_watches()
        await super().__aexit__(*error)


@pytest.fixture
async def start_replica(database_url):
    async with AsyncExitStack() as stack:

        async def start(**feed_limits):
            return await stack.enter_async_context(Replica(database_url, **feed_limits))

        yield start


@pytest.fixture
async def replica(start_replica):
    return await start_replica()
