"""Sweepers of several replicas on a real ledger."""

import asyncio
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import pytest

from holdfast_inventory.background.expiry import Sweeper
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.reservation import ReservationState
from tests.support.postgres import on_every_version
from tests.support.replicas import Lags

SALE = "drop-1"
BOUND_SECONDS = 30


@pytest.fixture
def lags():
    return Lags()


@pytest.fixture
def sweeping(lags):
    @asynccontextmanager
    async def sweeping(*replicas):
        async with AsyncExitStack() as stack:
            for replica in replicas:
                sweeper = Sweeper(replica.catalog, replica.ledger, lags, interval_seconds=0.2)
                stack.push_async_callback(sweeper.stop)
                await sweeper.start()
            yield

    return sweeping


async def until_nothing_is_held(replica, sale_id):
    async with aclosing(replica.feed.watch_stock(sale_id)) as events, asyncio.timeout(BOUND_SECONDS):
        levels = {}
        async for event in events:
            levels |= {item.item_id: item for item in getattr(event, "items", ())}
            if not any(item.held for item in levels.values()):
                return


@on_every_version
async def test_three_sweepers_end_each_hold_once(start_replica, sweeping, lags):
    replicas = [await start_replica() for _ in range(3)]
    await replicas[0].put_up(shoe=100, hold_seconds=1)
    await asyncio.gather(*(replicas[n % 3].hold("shoe") for n in range(60)))
    async with sweeping(*replicas):
        await until_nothing_is_held(replicas[0], SALE)
    movements = await replicas[0].catalog.list_movements(SALE, 0, 1_000)
    expired = [movement.reservation_id for movement in movements if movement.kind is MovementKind.EXPIRE]
    assert (len(expired), len(set(expired))) == (60, 60)
    assert (await replicas[0].catalog.verify(SALE)).discrepancies == []
    assert max(lags.seen) < BOUND_SECONDS


async def test_what_a_crash_left_of_a_cancelled_sale_is_finished(replica, sweeping):
    await replica.put_up(shoe=10)
    reservation_id = await replica.hold("shoe", quantity=4)
    await replica.catalog.cancel_sale(SALE)
    async with sweeping(replica):
        await until_nothing_is_held(replica, SALE)
    reservation = await replica.catalog.get_reservation(SALE, reservation_id)
    assert reservation.state is ReservationState.RELEASED


async def test_many_sales_are_swept(replica, sweeping):
    sale_ids = [f"sale-{n}" for n in range(20)]
    for sale_id in sale_ids:
        await replica.put_up(sale_id, shoe=1, hold_seconds=1)
        await replica.hold("shoe", sale_id=sale_id)
    async with sweeping(replica):
        await asyncio.gather(*(until_nothing_is_held(replica, sale_id) for sale_id in sale_ids))


async def test_an_outage_is_survived(replica, sweeping, sql):
    await replica.put_up(shoe=10, hold_seconds=1)
    await replica.hold("shoe")
    async with sweeping(replica):
        for _ in range(5):
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.1)
        await until_nothing_is_held(replica, SALE)
