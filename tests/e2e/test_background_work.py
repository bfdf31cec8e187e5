"""Work without requests: holds expire, and sales open on schedule, each once, with any number of replicas."""

import asyncio
import re
import uuid
from datetime import UTC, datetime

import aiohttp
import pytest

from holdfast.inventory.v1 import movement_pb2, sale_pb2
from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import CALL_SECONDS, outcome
from tests.support.eventually import eventually

PERIOD_SECONDS = 86_400  # So long that it rarely ends during a test.


@pytest.fixture
async def start_schedule(replicas):
    """Create schedules, return their names, and delete them at the end of the test."""
    created = []

    async def start(units=10_000, **options):
        schedule = sale_pb2.SaleSchedule(
            template=sale_pb2.Sale(items=[sale_pb2.Item(item="hot", on_hand=units)]), **options
        )
        schedule.period.FromSeconds(PERIOD_SECONDS)
        request = ss.CreateSaleScheduleRequest(schedule_id=f"s-{uuid.uuid4().hex}", sale_schedule=schedule)
        created.append((await replicas[0].sales.CreateSaleSchedule(request, timeout=CALL_SECONDS)).name)
        return created[-1]

    yield start
    for name in created:
        await replicas[0].sales.DeleteSaleSchedule(ss.DeleteSaleScheduleRequest(name=name), timeout=CALL_SECONDS)


async def sales_of(client, schedule):
    request = ss.ListSalesRequest(schedule=schedule)
    newest_first = (await client.sales.ListSales(request, timeout=CALL_SECONDS)).sales
    return sorted(newest_first, key=lambda sale: sale.open_time.ToSeconds())


async def both_are_there(client, schedule):
    sales = await sales_of(client, schedule)
    return sales if len(sales) >= 2 else None


async def test_schedulers_of_three_replicas_open_one_sale_per_period(replicas, start_schedule):
    schedule = await start_schedule()
    sales = await eventually(lambda: both_are_there(replicas[1], schedule))
    now_open, next_one = sales
    starts = [sale.open_time.ToSeconds() for sale in sales]
    assert [start % PERIOD_SECONDS for start in starts] == [0, 0]
    assert starts[1] - starts[0] == PERIOD_SECONDS
    assert starts[0] <= datetime.now(UTC).timestamp() <= starts[1] + 1
    assert (now_open.state, next_one.state) == (sale_pb2.Sale.OPEN, sale_pb2.Sale.SCHEDULED)
    assert now_open.name == f"sales/{schedule[14:]}-{datetime.fromtimestamp(starts[0], UTC):%Y%m%dt%H%M%Sz}"
    for sale in sales:
        assert (await replicas[2].item(sale.name, "hot")).on_hand == 10_000
        await replicas[2].check_ledger(sale.name)
    await replicas[0].reserve(now_open.name, "c-1", hot=1)
    assert (await outcome(replicas[0].reserve(next_one.name, "c-1", hot=1))).reason == "SALE_NOT_OPEN"


async def test_schedulers_that_start_together_open_one_sale_per_period(replicas, start_schedule, start_inventory):
    """Two more replicas start while there is work to do; it is done once."""
    late = [start_inventory(schedule_interval_seconds=0.1) for _ in range(2)]
    schedules = [await start_schedule() for _ in range(5)]
    for inventory in late:
        await inventory.is_serving()
    for schedule in schedules:
        sales = await eventually(lambda schedule=schedule: both_are_there(replicas[0], schedule))
        assert len({sale.open_time.ToSeconds() for sale in sales}) == len(sales) == 2
        for sale in sales:
            await replicas[0].check_ledger(sale.name)


async def test_stock_of_an_occurrence_is_taken_from_its_source_once(replicas, start_schedule):
    source = await replicas[0].open_sale(hot=15)
    schedule = await start_schedule(units=10, source_sale=source)
    sales = await eventually(lambda: both_are_there(replicas[1], schedule))
    stock = [(await replicas[1].item(sale.name, "hot")).on_hand for sale in sales]
    left = (await replicas[1].item(source, "hot")).on_hand
    assert sum(stock) + left == 15
    assert max(stock) == 10
    for sale in (source, *(sale.name for sale in sales)):
        await replicas[2].check_ledger(sale)


async def test_sweepers_of_three_replicas_end_each_hold_once(replicas):
    sale = await replicas[0].open_sale(hold_seconds=1, sneaker=100)
    made = await asyncio.gather(*(replicas[n % 3].reserve(sale, f"c-{n}", sneaker=1) for n in range(50)))

    async def all_back():
        level = await replicas[1].item(sale, "sneaker")
        return level.held == 0 and level.available == 100

    await eventually(all_back, within=15)
    ended = await asyncio.gather(*(replicas[2].get(held.name) for held in made))
    assert {held.state for held in ended} == {rs.Reservation.EXPIRED}
    request = ss.ListMovementsRequest(parent=sale, page_size=1000)
    movements = (await replicas[0].sales.ListMovements(request, timeout=CALL_SECONDS)).movements
    expired = [movement.reservation for movement in movements if movement.kind == movement_pb2.Movement.EXPIRE]
    assert sorted(expired) == sorted(held.name for held in made)
    assert [movement.sequence for movement in movements] == list(range(1, len(movements) + 1))
    await replicas[0].check_ledger(sale)


async def test_a_unit_whose_hold_ran_out_is_sold_at_once(replicas):
    """To the next request, without waiting for a sweeper."""
    sale = await replicas[0].open_sale(hold_seconds=1, sneaker=1)
    held = await replicas[0].reserve(sale, "c-1", sneaker=1)

    async def next_buyer():
        answer = await outcome(replicas[1].reserve(sale, "c-2", "patient", sneaker=1))
        return answer if hasattr(answer, "name") else None

    sold = await eventually(next_buyer, within=10)
    late_by = sold.create_time.ToDatetime() - held.expire_time.ToDatetime()
    assert 0 <= late_by.total_seconds() < 2
    await replicas[2].check_ledger(sale)


async def test_metrics_tell_what_happened(cluster, shop):
    sale = await shop.open_sale(sneaker=1)
    await shop.reserve(sale, "c-1", sneaker=1)
    await outcome(shop.reserve(sale, "c-2", sneaker=1))
    page = await scrape(cluster.inventories[0].metrics_url)
    for name in ("grpc_server_started_total", "grpc_server_handled_total", "grpc_server_handling_seconds_bucket"):
        assert re.search(rf'^{name}{{[^}}]*grpc_method="CreateReservation"', page, re.MULTILINE), name
    for name in ("holdfast_query_seconds", "process_resident_memory_bytes", "holdfast_ready"):
        assert re.search(rf"^{name}", page, re.MULTILINE), name
    assert re.search(r'reason="INSUFFICIENT_STOCK"', page)
    page = await scrape(f"{cluster.url}/metrics")
    assert "http_request_duration_seconds" in page


async def scrape(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()
