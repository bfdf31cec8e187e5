"""Refusals from memory: at most a moment stale, and never for a replay of a granted request."""

import pytest

from holdfast_inventory.domain.decide import Done
from holdfast_inventory.domain.errors import InsufficientStock
from tests.support.replicas import Replica, transfer
from tests.support.shopping import adjust, hold, new_sale

SOLD_OUT_SECONDS = 5.0


@pytest.fixture
async def one(database_url):
    """Remember for longer than a slow machine takes for a test."""
    async with Replica(database_url, sold_out_seconds=SOLD_OUT_SECONDS) as one:
        yield one


async def test_what_is_short_is_refused_without_asking_and_the_rest_is_sold(one, catalog):
    await catalog.create_sale(new_sale(socks=2))
    for _ in range(3):
        with pytest.raises(InsufficientStock, match="3 asked, 2 available"):
            await one.execute(hold(socks=3))
    assert isinstance(await one.execute(hold(socks=2)), Done)

    assert one.metrics.from_memory == 2


async def test_a_granted_request_is_answered_with_its_reservation_though_all_is_sold(one, catalog):
    await catalog.create_sale(new_sale(socks=1))
    granted = await one.execute(await one.bound_hold("r-1", socks=1))

    replayed = await one.execute(await one.bound_hold("r-1", socks=1))
    with pytest.raises(InsufficientStock):
        await one.execute(await one.bound_hold("r-2", socks=1))

    assert replayed == granted._replace(replayed=True)
    assert one.metrics.from_memory == 1


async def test_stock_that_returns_through_another_replica_is_sold_within_the_bound(one, database_url, catalog, later):
    await catalog.create_sale(new_sale(socks=0))
    async with Replica(database_url) as other:
        with pytest.raises(InsufficientStock):
            await one.execute(hold(socks=1))
        await other.execute(adjust("socks", 1))
        later(SOLD_OUT_SECONDS)

        assert isinstance(await one.execute(hold(socks=1)), Done)


async def test_stock_that_is_known_to_have_changed_elsewhere_is_sold_at_once(one, database_url, catalog):
    await catalog.create_sale(new_sale(socks=0))
    async with Replica(database_url) as other:
        with pytest.raises(InsufficientStock):
            await one.execute(hold(socks=1))
        await other.execute(adjust("socks", 1))
        one.ledger.changed_elsewhere("drop")

        assert isinstance(await one.execute(hold(socks=1)), Done)


async def test_stock_that_returns_here_is_sold_at_once(one, catalog):
    await catalog.create_sale(new_sale(socks=0))
    await catalog.create_sale(new_sale("store", socks=5))
    for restock in (
        lambda: one.execute(adjust("socks", 1)),
        lambda: one.ledger.transfer(transfer(1, ("store", "socks"), ("drop", "socks")), None),
    ):
        with pytest.raises(InsufficientStock):
            await one.execute(hold(socks=1))
        await restock()

        assert isinstance(await one.execute(hold(socks=1)), Done)
