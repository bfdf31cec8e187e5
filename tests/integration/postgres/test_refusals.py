"""Refusals, as several replicas store them."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.refusal import CustomerRefusal, RefusalCount
from holdfast_inventory.domain.report import ReasonCount
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.postgres.refusal_store import RefusalStore
from tests.support.postgres import on_every_version
from tests.support.shopping import new_sale

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LINES = (Line("cap", 1), Line("socks", 2))
YEAR = timedelta(days=365)


@pytest.fixture
def store(database):
    return RefusalStore(database)


def refused(customer="ann", reason="SALE_CLOSED", refusals=1, at=NOON, lines=LINES, sale_id="drop"):
    return CustomerRefusal(customer, sale_id, reason, refusals, at, at, lines)


@on_every_version
async def test_replicas_add_their_counts(store, catalog):
    await catalog.create_sale(new_sale(socks=1))
    counts = [RefusalCount("drop", "SALE_CLOSED", 2), RefusalCount("drop", "INSUFFICIENT_STOCK", 5)]

    await asyncio.gather(*(store.add(order, []) for order in [counts, counts[::-1]] * 5))

    refusals = (await catalog.sale_report("drop")).refusals
    assert refusals.counts == (ReasonCount("INSUFFICIENT_STOCK", 50), ReasonCount("SALE_CLOSED", 20))
    assert refusals.interval == timedelta(minutes=1)
    assert sum(interval.refusals for interval in refusals.curve) == 70


@on_every_version
async def test_a_customers_refusals_are_added_up_by_reason_and_listed_latest_first(store, catalog):
    await catalog.create_sale(new_sale(socks=1))
    later = NOON + timedelta(seconds=9)
    await store.add([], [refused(), refused("bob"), refused(reason="SALE_PAUSED")])
    await store.add([], [refused(refusals=2, at=later, lines=(Line("cap", 3),))])

    assert await store.list_customer_refusals("drop", "ann") == [
        CustomerRefusal("ann", "drop", "SALE_CLOSED", 3, NOON, later, (Line("cap", 3),)),
        refused(reason="SALE_PAUSED"),
    ]
    assert await store.list_customer_refusals("drop", "cid") == []


async def test_refusals_of_sales_that_do_not_exist_are_left_out(store, catalog, sql):
    await catalog.create_sale(new_sale(socks=1))
    await store.add(
        [RefusalCount("drop", "SALE_CLOSED", 1), RefusalCount("nothing", "OVERLOADED", 1)],
        [refused(), refused(sale_id="nothing")],
    )
    assert await sql.fetchval("SELECT array_agg(sale_id) FROM refusal_counts") == ["drop"]
    assert await sql.fetchval("SELECT array_agg(sale_id) FROM customer_refusals") == ["drop"]
    with pytest.raises(NotFound):
        await store.list_customer_refusals("nothing", "ann")


async def test_the_curve_of_refusals_has_a_limited_number_of_intervals(catalog, sql):
    await catalog.create_sale(new_sale(socks=1))
    await sql.execute(
        "INSERT INTO refusal_counts"
        " SELECT 'drop', date_trunc('minute', now()) - n * interval '7 minutes', 'OVERLOADED', 1"
        " FROM generate_series(1, 1000) AS n"
    )
    refusals = (await catalog.sale_report("drop")).refusals
    assert refusals.interval == timedelta(hours=1)
    assert 116 <= len(refusals.curve) <= 118
    assert sum(interval.refusals for interval in refusals.curve) == 1000


@on_every_version
async def test_what_is_old_is_deleted_in_parts(store, catalog, sql):
    await catalog.create_sale(new_sale(socks=1))
    await store.add([RefusalCount("drop", "SALE_CLOSED", 1)], [refused(at=datetime.now(UTC))])
    await sql.execute(
        "INSERT INTO refusal_counts"
        " SELECT 'drop', now() - interval '2 years' - n * interval '1 minute', 'OVERLOADED', 1"
        " FROM generate_series(1, 1500) AS n"
    )
    await store.add([], [refused("bob", at=datetime.now(UTC) - 2 * YEAR)])

    assert [await store.delete_old(YEAR, YEAR) for _ in range(2)] == [True, False]

    assert await sql.fetchval("SELECT array_agg(reason) FROM refusal_counts") == ["SALE_CLOSED"]
    assert await sql.fetchval("SELECT array_agg(customer) FROM customer_refusals") == ["ann"]
