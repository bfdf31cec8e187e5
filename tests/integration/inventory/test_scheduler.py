"""Schedulers of several replicas on a real ledger."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.background.schedules import Scheduler
from holdfast_inventory.domain.sale import NewItem, SaleState
from holdfast_inventory.domain.schedule import Period, Remainder, Schedule
from tests.support.postgres import on_every_version

BOUND_SECONDS = 30


def daily(schedule_id="daily", **changes):
    rules = {
        "recurrence": Period(timedelta(days=1)),
        "open_duration": timedelta(days=1),
        "per_customer_limit": 0,
        "hold_time": timedelta(seconds=60),
        "max_hold_time": timedelta(seconds=60),
        "items": (NewItem("shoe", 10_000, 2),),
        "source_sale_id": None,
        "remainder": Remainder.STAY,
        "created_at": datetime.now(UTC),
    }
    return Schedule(schedule_id=schedule_id, **rules | changes)


@pytest.fixture
def scheduling():
    @asynccontextmanager
    async def scheduling(*replicas):
        """Run a scheduler at each replica. Return a function that waits for a fact, and checks it after each commit."""
        moved = asyncio.Event()
        async with AsyncExitStack() as stack:
            for replica in replicas:
                replica.listeners.append(lambda _: moved.set())
                scheduler = Scheduler(replica.catalog, interval_seconds=0.1)
                stack.push_async_callback(scheduler.stop)
                await scheduler.start()

            async def until(fact):
                async with asyncio.timeout(BOUND_SECONDS):
                    while not await fact():
                        moved.clear()
                        await asyncio.wait([asyncio.ensure_future(moved.wait())], timeout=1)

            yield until

    return scheduling


async def sales_of(replica, schedule_id="daily"):
    views, _ = await replica.catalog.list_sales(100, None, None, schedule_id)
    return {view.state: view.sale.sale_id for view in views}


async def stock(replica, sale_id):
    _, items = await replica.catalog.snapshot(sale_id)
    return {item.item_id: item.available for item in items}


@on_every_version
async def test_three_schedulers_put_up_each_sale_once_and_the_next_ahead(start_replica, scheduling):
    replicas = [await start_replica() for _ in range(3)]
    for schedule_id in ("a", "b", "c"):
        await replicas[0].catalog.create_schedule(daily(schedule_id))

    async def all_there():
        return [len(await sales_of(replicas[0], schedule_id)) for schedule_id in "abc"] == [2, 2, 2]

    async with scheduling(*replicas) as until:
        await until(all_there)
    for schedule_id in "abc":
        sales = await sales_of(replicas[0], schedule_id)
        assert set(sales) == {SaleState.OPEN, SaleState.SCHEDULED}
        for sale_id in sales.values():
            assert await stock(replicas[0], sale_id) == {"shoe": 10_000}
            assert len(await replicas[0].catalog.list_movements(sale_id, 0, 100)) == 1


@pytest.mark.parametrize("remainder", [Remainder.RETURN, Remainder.CARRY_OVER])
async def test_what_a_sale_leaves_is_settled_once_by_three_schedulers(start_replica, scheduling, remainder):
    replicas = [await start_replica() for _ in range(3)]
    await replicas[0].put_up("main", shoe=500, hold_seconds=60)
    source = "main" if remainder is Remainder.RETURN else None
    await replicas[0].catalog.create_schedule(
        daily(items=(NewItem("shoe", 100, 0),), source_sale_id=source, remainder=remainder)
    )

    async def is_open():
        return SaleState.OPEN in await sales_of(replicas[0])

    async with scheduling(*replicas) as until:
        await until(is_open)
        sale_id = (await sales_of(replicas[0]))[SaleState.OPEN]
        reservation_id = await replicas[1].hold("shoe", quantity=30, sale_id=sale_id)
        await replicas[1].confirm(reservation_id, sale_id=sale_id)
        await replicas[2].catalog.cancel_sale(sale_id)

        async def is_settled():
            return await stock(replicas[0], sale_id) == {"shoe": 0}

        await until(is_settled)
    if remainder is Remainder.RETURN:
        assert await stock(replicas[0], "main") == {"shoe": 470}
    else:
        following = (await sales_of(replicas[0]))[SaleState.SCHEDULED]
        assert await stock(replicas[0], following) == {"shoe": 170}
    assert (await replicas[0].catalog.verify(sale_id)).discrepancies == []


async def test_a_schedule_that_is_gone_opens_nothing_more(replica, scheduling):
    await replica.catalog.create_schedule(daily())
    await replica.catalog.delete_schedule("daily")
    await replica.catalog.create_schedule(daily("other"))

    async def other_is_there():
        return len(await sales_of(replica, "other")) == 2

    async with scheduling(replica) as until:
        await until(other_is_there)
    assert await sales_of(replica) == {}
