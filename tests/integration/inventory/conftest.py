"""Replicas of the service's inside, without its outside, on one database."""

import uuid
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from holdfast_inventory.domain.commands import Confirm, Create, Release
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.domain.sale import NewItem, NewSale
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.watches.feed import FeedLimits, StockFeed
from lab.kit import replica as kit

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
