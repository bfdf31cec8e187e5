"""The sweeper, in virtual time, with sales that have a given number of due holds."""

import asyncio

import pytest

from holdfast_inventory.background.expiry import Sweeper
from holdfast_inventory.domain.commands import Sweep
from holdfast_inventory.domain.decide import Swept
from holdfast_inventory.domain.errors import DatabaseUnavailable, Internal, Overloaded
from tests.support.replicas import Lags

BATCH = 1_000


class Sales:
    """Catalog and ledger in one."""

    def __init__(self, **due_holds):
        self.due_holds = due_holds
        self.refusals = {}
        self.asked = []
        self.at_once = 0
        self.most_at_once = 0
        self.failure = None
        self.rounds = 0

    async def sales_to_sweep(self, limit):
        self.rounds += 1
        if self.failure is not None:
            raise self.failure
        due = [sale_id for sale_id, holds in self.due_holds.items() if holds]
        return due[:limit], 7.0 if due else 0.0

    async def execute(self, sale_id, command, deadline):
        assert isinstance(command, Sweep)
        assert deadline > asyncio.get_running_loop().time()
        self.asked.append(sale_id)
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if sale_id in self.refusals:
            raise self.refusals[sale_id]
        ended = min(BATCH, self.due_holds[sale_id])
        self.due_holds[sale_id] -= ended
        return Swept(ended)


@pytest.fixture
def lags():
    return Lags()


@pytest.fixture
def run(lags):
    async def run(sales, seconds):
        sweeper = Sweeper(sales, sales, lags)
        await sweeper.start()
        await asyncio.sleep(seconds)
        await sweeper.stop()
        return sales

    return run


async def test_a_sale_is_swept_until_nothing_is_due(run):
    sales = await run(Sales(a=3 * BATCH + 1), 1)
    assert sales.due_holds == {"a": 0}
    assert sales.asked == ["a"] * 5


async def test_several_sales_are_swept_at_once_but_not_all(run):
    sales = await run(Sales(**{f"sale-{n}": 10 for n in range(50)}), 1)
    assert not any(sales.due_holds.values())
    assert 1 < sales.most_at_once <= 4


async def test_a_backlog_is_worked_off_without_pause(run):
    sales = await run(Sales(**{f"sale-{n}": 10 for n in range(1_000)}), 9)
    assert not any(sales.due_holds.values())


async def test_nothing_is_asked_of_the_ledger_when_nothing_is_due(run, lags):
    sales = await run(Sales(a=0), 10)
    assert sales.asked == []
    assert set(lags.seen) == {0.0}


async def test_the_lag_is_reported(run, lags):
    await run(Sales(a=1), 3)
    assert lags.seen[:2] == [7.0, 0.0]


async def test_a_busy_sale_is_left_to_its_own_batches(run):
    sales = Sales(a=1, b=1)
    sales.refusals["a"] = Overloaded(1.0)
    await run(sales, 2.9)
    assert sales.due_holds == {"a": 1, "b": 0}
    assert sales.asked.count("a") >= 3


async def test_a_sale_that_cannot_be_swept_does_not_keep_the_others_waiting(run):
    sales = Sales(bad=1, good=1)
    sales.refusals["bad"] = Internal()
    await run(sales, 0.5)
    assert sales.due_holds == {"bad": 1, "good": 0}


async def test_an_outage_is_survived(run):
    sales = Sales(a=1)
    sales.failure = DatabaseUnavailable()
    running = asyncio.create_task(run(sales, 120))
    await asyncio.sleep(100)
    assert sales.rounds < 60, "it must not hammer at a database that is away"
    sales.failure = None
    await running
    assert sales.due_holds == {"a": 0}
