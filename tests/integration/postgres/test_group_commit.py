"""What callers of one sale can rely on while they share batches."""

import asyncio

import pytest

from holdfast_inventory.domain.decide import Done
from holdfast_inventory.domain.errors import (
    DeadlineInQueue,
    Draining,
    InsufficientStock,
    Internal,
    NotFound,
    Overloaded,
)
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from tests.support.postgres import on_every_version
from tests.support.replicas import Replica, locked
from tests.support.shopping import hold, new_sale


async def begun(one, command, **options):
    """Return a task whose command is queued, or already in a batch."""
    task = asyncio.ensure_future(one.execute(command, **options))
    await asyncio.sleep(0)
    return task


async def in_flight(one, sale_id="drop"):
    """Return a command whose batch waits for the lock that the test holds."""
    task = await begun(one, hold("first", socks=1), sale_id=sale_id)
    await one.statements.seen("read")
    return task


async def reservations(sql):
    return await sql.fetchval("SELECT count(*) FROM reservations")


@on_every_version
async def test_what_waits_is_one_batch_and_is_decided_in_order(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=6))
    async with Replica(database_url) as one:
        async with locked(sql):
            tasks = [await in_flight(one)]
            tasks += [await begun(one, hold(f"c-{units}", socks=units)) for units in (3, 3, 1, 2, 1)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [Done, Done, InsufficientStock, Done, InsufficientStock, Done] == [type(answer) for answer in answers]
    assert one.metrics.batches == [1, 5]
    assert (await catalog.get_item("drop", "socks")).available == 0
    assert (await catalog.verify("drop")).discrepancies == []


async def test_a_caller_that_leaves_the_queue_is_not_served(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=3))
    async with Replica(database_url) as one:
        async with locked(sql):
            mate = await in_flight(one)
            leaver, stayer = [await begun(one, hold(socks=1)) for _ in range(2)]
            leaver.cancel()
        await asyncio.gather(mate, stayer)

    assert leaver.cancelled()
    assert await reservations(sql) == 2


async def test_a_caller_that_leaves_its_batch_affects_no_other(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=4))
    async with Replica(database_url) as one:
        async with locked(sql):
            alone = await in_flight(one)
            alone.cancel()
            mates = [await begun(one, hold(socks=1)) for _ in range(3)]
        await one.statements.seen("append", 2)
        mates[1].cancel()
        stayed = [await mates[0], await mates[2]]
        # The commands of the callers that left were in progress, and took effect completely.
        held = await reservations(sql)

    assert all(isinstance(done, Done) for done in stayed)
    assert held in {3, 4}
    assert (await catalog.get_item("drop", "socks")).held == held
    assert (await catalog.verify("drop")).discrepancies == []


async def test_a_deadline_that_passes_in_the_queue_means_not_applied(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=3))
    async with Replica(database_url) as one:
        async with locked(sql):
            mate = await in_flight(one)
            late = await begun(one, hold(socks=1), within=0)
            patient = await begun(one, hold(socks=1), within=5)
        await asyncio.gather(mate, patient)
        with pytest.raises(DeadlineInQueue):
            await late

    assert await reservations(sql) == 2


@on_every_version
@pytest.mark.parametrize("poison", ["a\x00b", "\ud800"], ids=["NUL", "surrogate"])
async def test_a_command_that_the_database_cannot_read_fails_alone(database_url, catalog, sql, poison):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url) as one:
        async with locked(sql):
            tasks = [await in_flight(one)]
            for number in range(7):
                lines = {poison: 1} if number == 3 else {"socks": 1}
                tasks.append(await begun(one, hold(**lines)))
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [position for position, answer in enumerate(answers) if isinstance(answer, Internal)] == [4]
    assert sum(isinstance(answer, Done) for answer in answers) == 7
    assert await reservations(sql) == 7


@on_every_version
async def test_a_command_that_breaks_a_constraint_fails_alone(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    await sql.execute("ALTER TABLE reservations ADD CONSTRAINT planted CHECK (customer <> 'cursed')")
    async with Replica(database_url) as one:
        async with locked(sql):
            tasks = [await in_flight(one)]
            tasks += [await begun(one, hold(customer, socks=1)) for customer in ("a", "cursed", "b", "c", "cursed")]
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert [position for position, answer in enumerate(answers) if isinstance(answer, Internal)] == [2, 5]
    assert (await catalog.get_item("drop", "socks")).held == 4
    assert (await catalog.verify("drop")).discrepancies == []


async def test_a_missing_sale_is_reported_to_all_at_once(database_url):
    async with Replica(database_url) as one:
        tasks = [await begun(one, hold(socks=1), sale_id="nowhere") for _ in range(5)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert {"sales/nowhere"} == {answer.resource for answer in answers if isinstance(answer, NotFound)}
    assert one.metrics.batches == [1, 4]
    assert one.statements.count("read") == 2


@pytest.mark.parametrize(
    "limits", [GroupCommitLimits(queue_commands=1), GroupCommitLimits(queue_seconds=0.0)], ids=["length", "time"]
)
async def test_a_queue_that_is_too_long_refuses_and_says_when_to_come_back(database_url, catalog, sql, limits):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url, limits=limits) as one:
        async with locked(sql):
            served = [await in_flight(one), await begun(one, hold(socks=1))]
            with pytest.raises(Overloaded) as caught:
                await one.execute(hold(socks=1))
        await asyncio.gather(*served)
        await one.execute(hold(socks=1))

    assert caught.value.retry_after_seconds > 0
    assert await reservations(sql) == 3


async def test_a_slow_batch_in_flight_counts_as_waiting_time(database_url, catalog, sql, later):
    """The queue notices a stopped database before the first batch returns."""
    await catalog.create_sale(new_sale(socks=9))
    limits = GroupCommitLimits(queue_seconds=1.0, patience_seconds=30.0)
    async with Replica(database_url, limits=limits) as one:
        async with locked(sql):
            tasks = [await in_flight(one), await begun(one, hold(socks=1)), await begun(one, hold(socks=1))]
            later(1.1)
            with pytest.raises(Overloaded):
                await one.execute(hold(socks=1))
        await asyncio.gather(*tasks)


async def test_stopping_serves_what_is_queued_and_takes_nothing_new(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url) as one:
        async with locked(sql):
            tasks = [await in_flight(one), await begun(one, hold(socks=1))]
            stopping = asyncio.ensure_future(one.ledger.stop(timeout_seconds=5))
            await asyncio.sleep(0)
            with pytest.raises(Draining):
                await one.execute(hold(socks=1))
            assert not stopping.done()
        await stopping

    assert all(isinstance(task.result(), Done) for task in tasks)
    assert one.ledger.waiting == 0


async def test_an_error_in_an_announcement_affects_no_answer(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url) as one:

        def deaf(_commit):
            raise RuntimeError("planted")

        one.ledger._on_commit = deaf
        assert (await one.execute(hold(socks=1))).replayed is False

    assert await reservations(sql) == 1


async def test_each_commit_is_announced_with_its_sequences(database_url, catalog):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url) as one:
        await one.execute(hold(socks=2))
        await one.execute(hold(socks=3))
        with pytest.raises(InsufficientStock):
            await one.execute(hold(socks=5))

    assert [(told.previous_sequence, told.sequence, told.items[0].held) for told in one.commits] == [
        (1, 2, 2),
        (2, 3, 5),
    ]
