"""What several replicas on one database promise together."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from itertools import cycle

import pytest

from holdfast_inventory.domain.commands import Extend, Sweep
from holdfast_inventory.domain.decide import Done, Swept
from holdfast_inventory.domain.errors import (
    CustomerLimitReached,
    InsufficientStock,
    NotFound,
    NotReturnable,
    RequestIdReused,
    ReservationExpired,
    SaleClosed,
)
from holdfast_inventory.domain.reservation import Line, ReservationState
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from tests.support.postgres import on_every_version
from tests.support.replicas import Replica
from tests.support.shopping import adjust, confirm, hold, new_sale, release, take_back

FEW_AT_A_TIME = GroupCommitLimits(due_holds=3)


@pytest.fixture
async def replicas(database_url):
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Replica(database_url)) for _ in range(3)]


async def all_answers(replicas, commands):
    """Return the answers of commands that go to the replicas in turn, all at once."""
    return await asyncio.gather(*(one.answer(command) for one, command in zip(cycle(replicas), commands)))


def count(answers, kind):
    return sum(isinstance(answer, kind) for answer in answers)


async def make_due(sql):
    """Let every open hold expire, as of a minute ago."""
    await sql.execute("UPDATE reservations SET expires_at = now() - interval '1 minute' WHERE state = 1")


@on_every_version
async def test_one_request_id_is_one_reservation_on_any_replica(replicas, catalog):
    await catalog.create_sale(new_sale(socks=50, limit=30))
    commands = [await one.bound_hold("r-1", socks=2) for one, _ in zip(cycle(replicas), range(20))]

    answers = await all_answers(replicas, commands)

    assert len({done.reservation for done in answers}) == 1
    assert sorted(done.replayed for done in answers) == [False] + [True] * 19
    assert (await catalog.get_item("drop", "socks")).held == 2


@on_every_version
async def test_a_stampede_on_few_units_sells_exactly_those(replicas, catalog):
    await catalog.create_sale(new_sale(socks=50))

    answers = await all_answers(replicas, [hold(f"c-{n}", socks=1) for n in range(200)])

    assert count(answers, Done) == 50
    assert count(answers, InsufficientStock) == 150
    assert (await catalog.get_item("drop", "socks")).available == 0
    assert (await catalog.verify("drop")).discrepancies == []


async def test_a_customer_cannot_pass_the_limit_by_haste(replicas, catalog):
    await catalog.create_sale(new_sale(socks=50, limit=4))

    answers = await all_answers(replicas, [hold("greedy", socks=1) for _ in range(30)])

    assert count(answers, Done) == 4
    assert count(answers, CustomerLimitReached) == 26


async def test_buyers_of_different_items_all_succeed(replicas, catalog):
    items = {f"item-{n}": 1 for n in range(200)}
    await catalog.create_sale(new_sale(**items))

    answers = await all_answers(replicas, [hold(f"c-{item}", **{item: 1}) for item in items])

    assert count(answers, Done) == 200
    assert (await catalog.verify("drop")).discrepancies == []


async def test_a_request_id_with_another_meaning_is_refused(replicas, catalog):
    await catalog.create_sale(new_sale(socks=5))
    one, other, _ = replicas
    await one.execute(await one.bound_hold("r-1", socks=1))

    with pytest.raises(RequestIdReused):
        await other.execute(await other.bound_hold("r-1", socks=2))


async def test_a_refused_request_may_succeed_later(replicas, catalog):
    await catalog.create_sale(new_sale(socks=1))
    one, other, _ = replicas
    command = await other.bound_hold("r-1", socks=2)
    with pytest.raises(InsufficientStock):
        await one.execute(command)
    await other.execute(adjust("socks", 1))

    assert (await other.execute(command)).replayed is False


async def test_confirms_and_releases_of_one_hold_from_everywhere_have_one_winner(replicas, catalog):
    await catalog.create_sale(new_sale(socks=5))
    held = (await replicas[0].execute(hold(socks=3))).reservation

    await all_answers(replicas, [confirm(held), release(held)] * 10)

    item = await catalog.get_item("drop", "socks")
    assert (item.on_hand, item.held, item.sold) in {(2, 0, 3), (5, 0, 0)}
    assert (await catalog.verify("drop")).discrepancies == []


async def test_answers_come_in_the_order_of_the_commands(replicas, catalog):
    await catalog.create_sale(new_sale(socks=2))
    commands = [hold(socks=2), hold(nothing=1), hold(socks=1), Sweep()]

    answers = await replicas[0].ledger.execute_all("drop", [(command, None, None) for command in commands])

    assert [Done, NotFound, InsufficientStock, Swept] == [type(answer) for answer in answers]


@on_every_version
async def test_a_due_hold_never_causes_a_refusal(database_url, catalog, sql):
    """More holds are due than one read takes."""
    await catalog.create_sale(new_sale(socks=10))
    async with Replica(database_url, limits=FEW_AT_A_TIME) as one:
        dead = [(await one.execute(hold(f"c-{n}", socks=1))).reservation for n in range(10)]
        await make_due(sql)
        one.ledger.changed_elsewhere("drop")
        assert isinstance(await one.execute(hold("alive", socks=10)), Done)
        with pytest.raises(ReservationExpired):
            await one.execute(confirm(dead[0]))

    item = await catalog.get_item("drop", "socks")
    assert (item.held, item.available) == (10, 0)
    assert await sql.fetchval("SELECT count(*) FROM reservations WHERE state = 4") == 10
    assert (await catalog.verify("drop")).discrepancies == []


async def test_what_unread_due_holds_keep_back_is_not_remembered_as_sold_out(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=10))
    async with Replica(database_url, limits=FEW_AT_A_TIME) as one:
        for n in range(9):
            await one.execute(hold(f"c-{n}", socks=1))
        await make_due(sql)
        one.ledger.changed_elsewhere("drop")
        await one.execute(hold("modest", socks=1))
        await one.execute(hold("greedy", socks=9))

    assert one.metrics.from_memory == 0


async def test_each_batch_ends_due_holds_without_being_asked(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=10))
    async with Replica(database_url) as one:
        await one.execute(hold("dead", socks=9))
        await make_due(sql)
        await one.execute(hold("alive", socks=1))

    assert (await catalog.get_item("drop", "socks")).held == 1


@on_every_version
async def test_a_cancelled_sale_gives_back_its_open_holds_and_takes_no_more(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=20))
    async with Replica(database_url, limits=FEW_AT_A_TIME) as one:
        sold = (await one.execute(hold("quick", socks=1))).reservation
        await one.execute(confirm(sold))
        for n in range(8):
            await one.execute(hold(f"c-{n}", socks=1))
        await catalog.cancel_sale("drop")
        with pytest.raises(SaleClosed):
            await one.execute(hold("late", socks=1))
        while (await one.execute(Sweep())).ended:
            pass

    item = await catalog.get_item("drop", "socks")
    assert (item.on_hand, item.held, item.sold) == (19, 0, 1)
    assert await sql.fetchval("SELECT count(*) FROM reservations WHERE state = 3") == 8
    assert (await catalog.verify("drop")).discrepancies == []


async def test_an_extension_is_durable_though_no_stock_moves(replicas, catalog, sql):
    await catalog.create_sale(new_sale(socks=5))
    one, other, _ = replicas
    held = (await one.execute(hold(socks=1))).reservation
    until = held.expires_at + timedelta(minutes=5)

    await other.execute(Extend(held.reservation_id, until, customer=""))

    assert await sql.fetchval("SELECT expires_at FROM reservations") == until
    assert (await catalog.get_reservation("drop", held.reservation_id)).state is ReservationState.HELD


async def test_an_item_may_be_called_null(replicas, catalog):
    await catalog.create_sale(new_sale(NULL=2, null=1))

    done = await replicas[0].execute(hold(NULL=1, null=1))

    assert done.reservation == await catalog.get_reservation("drop", done.reservation.reservation_id)


async def test_an_adjustment_is_done_once(replicas, catalog):
    await catalog.create_sale(new_sale(socks=5))
    command = adjust("socks", 3)

    answers = await all_answers(replicas, [command] * 9)

    assert sorted(adjusted.replayed for adjusted in answers) == [False] + [True] * 8
    assert (await catalog.get_item("drop", "socks")).on_hand == 8
    with pytest.raises(RequestIdReused):
        await replicas[0].execute(replace(command, fingerprint=b"another meaning"))


@on_every_version
async def test_a_return_is_executed_once_and_gives_the_limit_back(replicas, catalog):
    await catalog.create_sale(new_sale(limit=3, cap=5, socks=5))
    sold = (await replicas[0].execute(hold(confirm=True, cap=2, socks=1))).reservation
    assert isinstance(await replicas[1].answer(hold(cap=1)), CustomerLimitReached)
    command = take_back(sold, cap=1)

    answers = await all_answers(replicas, [command] * 9)

    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 8
    assert {answer.reservation.returned for answer in answers} == {(Line("cap", 1),)}
    assert await catalog.get_reservation("drop", sold.reservation_id) == answers[0].reservation
    cap = await catalog.get_item("drop", "cap")
    assert (cap.on_hand, cap.sold) == (4, 1)
    assert isinstance(await replicas[2].answer(hold(cap=1)), Done)
    assert (await replicas[0].execute(take_back(sold, restock=False))).reservation.returned == sold.lines
    assert ((await catalog.get_item("drop", "socks")).on_hand, (await catalog.get_item("drop", "socks")).sold) == (4, 0)
    assert isinstance(await replicas[1].answer(take_back(sold, cap=1)), NotReturnable)
    assert (await catalog.verify("drop")).discrepancies == []


async def test_the_salt_of_a_sale_that_does_not_exist_is_not_found(replicas):
    with pytest.raises(NotFound):
        await replicas[0].ledger.salt("nowhere")
