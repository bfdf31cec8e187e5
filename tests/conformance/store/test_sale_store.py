"""What the stock core requires of any store."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from holdfast_inventory.domain.commands import Confirm, Extend, Release, Sweep
from holdfast_inventory.domain.decide import Done, StockChange, decide, decide_transfer
from holdfast_inventory.domain.errors import InsufficientStock, NotFound
from holdfast_inventory.domain.reservation import ReservationState
from holdfast_inventory.ports import Stale
from tests.support.replicas import transfer
from tests.support.shopping import adjust, hold

DUE_LIMIT = 10
BOTH_WAYS = pytest.mark.parametrize("exclusive", [False, True], ids=["optimistic", "exclusive"])


async def run(store, *commands, sale_id="drop", exclusive=False):
    """Decide commands on the stored state, commit the decision, and return the answers."""
    async with store.open(sale_id, commands, DUE_LIMIT, exclusive=exclusive) as batch:
        decision = decide(batch.state, commands)
        await batch.commit(decision)
    return decision.answers


async def state(store, *commands, sale_id="drop", due_limit=DUE_LIMIT):
    async with store.open(sale_id, commands, due_limit, exclusive=False) as batch:
        return batch.state


async def available(store, item_id="socks", sale_id="drop"):
    return (await state(store, hold(**{item_id: 1}), sale_id=sale_id)).items[item_id].available


@BOTH_WAYS
async def test_what_is_committed_is_read_by_the_next_batch(store, exclusive):
    command = hold(socks=2)
    [done] = await run(store, command, exclusive=exclusive)

    known = await state(store, command)
    assert known.reservations == {command.reservation_id: done.reservation}
    assert known.items["socks"].held == 2


@BOTH_WAYS
async def test_a_batch_that_is_left_without_a_commit_has_done_nothing(store, exclusive):
    command = hold(socks=2)
    async with store.open("drop", [command], DUE_LIMIT, exclusive=exclusive) as batch:
        decide(batch.state, [command])

    assert (await state(store, command)).reservations == {}


@BOTH_WAYS
async def test_an_error_in_a_batch_passes_and_nothing_is_done(store, exclusive):
    with pytest.raises(KeyError):
        async with store.open("drop", [], DUE_LIMIT, exclusive=exclusive):
            raise KeyError

    assert await available(store) == 10


@BOTH_WAYS
async def test_a_sale_that_does_not_exist_is_reported(store, exclusive):
    with pytest.raises(NotFound):
        await run(store, Sweep(), sale_id="nowhere", exclusive=exclusive)


async def test_every_change_of_a_reservation_is_kept(store):
    held, sold, returned = hold("a", socks=1), hold("b", socks=1), hold("c", socks=1)
    answers = await run(store, held, sold, returned)
    later = answers[0].reservation.expires_at + timedelta(seconds=5)
    await run(store, Confirm(sold.reservation_id, "o-1", False, ""), Release(returned.reservation_id, ""))
    await run(store, Extend(held.reservation_id, later, ""))

    known = (await state(store, held, sold, returned)).reservations
    assert known[held.reservation_id].expires_at == later
    assert known[sold.reservation_id].state is ReservationState.CONFIRMED
    assert known[sold.reservation_id].order == "o-1"
    assert known[returned.reservation_id].state is ReservationState.RELEASED


async def test_a_stock_change_is_remembered_by_its_id(store):
    change = adjust("socks", 3)
    [answer] = await run(store, change)

    made = StockChange(change.change_id, change.fingerprint, answer.executed_at)
    assert (await state(store, change)).stock_changes == {change.change_id: made}
    assert await available(store) == 13


async def test_what_a_customer_has_is_read_where_it_is_limited(store):
    await run(store, hold("a", socks=1), hold("b", socks=2), sale_id="limited")
    await run(store, hold("a", socks=1))

    assert (await state(store, hold("a", socks=1), sale_id="limited")).used == {"a": {"socks": 1}}
    assert not (await state(store, hold("a", socks=1))).used.get("a")


async def test_due_holds_are_read_up_to_the_limit_with_their_items(store):
    commands = [hold(f"c-{number}", hold_time=timedelta(milliseconds=1), socks=1) for number in range(3)]
    await run(store, *commands)
    await asyncio.sleep(0.01)

    some = await state(store, due_limit=2)
    assert (len(some.due), some.more_due) == (2, True)
    everything = await state(store, due_limit=4)
    assert (len(everything.due), everything.more_due) == (3, False)
    assert everything.items["socks"].held == 3


# When units may become available


def lasting(seconds, **quantities):
    return hold(hold_time=timedelta(seconds=seconds), **quantities)


@BOTH_WAYS
async def test_a_shortage_tells_when_the_first_hold_on_its_item_ends(store, exclusive):
    await run(store, lasting(30, shoes=1), lasting(90, socks=1), lasting(60, socks=1), sale_id="pair")

    [refusal] = await run(store, hold(socks=1), sale_id="pair", exclusive=exclusive)
    assert 59 < refusal.retry_after_seconds <= 60


@BOTH_WAYS
async def test_what_is_sold_does_not_come_back(store, exclusive):
    await run(store, lasting(30, shoes=1), hold(socks=1, confirm=True), lasting(60, socks=1), sale_id="pair")

    one, two = await run(store, hold(socks=1), hold(socks=2), sale_id="pair", exclusive=exclusive)
    assert 59 < one.retry_after_seconds <= 60
    assert two.retry_after_seconds is None


async def test_units_that_are_taken_by_hand_in_the_same_batch_count_as_asked_for(store):
    await run(store, lasting(60, socks=2))

    _, refusal = await run(store, adjust("socks", -6), hold(socks=3))
    assert 59 < refusal.retry_after_seconds <= 60


async def test_a_late_confirmation_and_a_transfer_tell_when_units_come_back_too(store):
    late = lasting(0.001, socks=2)
    await run(store, late, sale_id="pair")
    await asyncio.sleep(0.01)
    await run(store, lasting(60, socks=2), sale_id="pair")

    [refusal] = await run(store, Confirm(late.reservation_id, "", True, ""), sale_id="pair")
    assert 59 < refusal.retry_after_seconds <= 60
    command = transfer(1, ("pair", "socks"), ("drop", "socks"))
    async with store.open_transfer(command, DUE_LIMIT) as batch:
        with pytest.raises(InsufficientStock) as caught:
            decide_transfer(batch.source, batch.destination, command)
    assert 59 < caught.value.retry_after_seconds <= 60


async def test_the_clock_goes_on(store):
    first = (await state(store)).now
    await asyncio.sleep(0.001)
    assert (await state(store)).now > first


# Concurrent changes


async def test_a_commit_on_what_others_have_changed_is_stale_and_does_nothing(store):
    mine, theirs = hold("slower", socks=10), hold("quicker", socks=10)
    with pytest.raises(Stale):  # noqa: PT012 -- it is told at the batch's end
        async with store.open("drop", [mine], DUE_LIMIT, exclusive=False) as batch:
            decision = decide(batch.state, [mine])
            await run(store, theirs)
            await batch.commit(decision)

    known = (await state(store, mine, theirs)).reservations
    assert set(known) == {theirs.reservation_id}


@pytest.mark.parametrize("meanwhile", ["extend", "replay"])
async def test_a_batch_that_moves_nothing_makes_others_stale_too(store, meanwhile):
    """An extension must not be lost; and after an empty commit nothing that was sent before it can happen."""
    held, mine = hold(socks=1), hold("other", socks=1)
    [done] = await run(store, held)
    extend = Extend(held.reservation_id, done.reservation.expires_at + timedelta(seconds=1), "")
    with pytest.raises(Stale):  # noqa: PT012 -- it is told at the batch's end
        async with store.open("drop", [mine], DUE_LIMIT, exclusive=False) as batch:
            decision = decide(batch.state, [mine])
            await run(store, extend if meanwhile == "extend" else held)
            await batch.commit(decision)


async def test_an_exclusive_batch_keeps_others_waiting(store):
    mine, theirs = hold(socks=10), hold("other", socks=1)
    async with store.open("drop", [mine], DUE_LIMIT, exclusive=True) as batch:
        waiting = asyncio.ensure_future(run(store, theirs, exclusive=True))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        await batch.commit(decide(batch.state, [mine]))

    [answer] = await waiting
    assert isinstance(answer, InsufficientStock)


async def test_sales_do_not_wait_for_each_other(store):
    async with store.open("drop", [], DUE_LIMIT, exclusive=True):
        [done] = await run(store, hold(socks=1), sale_id="limited", exclusive=True)
    assert isinstance(done, Done)


@pytest.mark.parametrize(
    "exclusive", [[False] * 8, [True] * 8, [True, False] * 4], ids=["optimistic", "exclusive", "mixed"]
)
async def test_however_many_race_no_unit_is_sold_twice(store, exclusive):
    async def buy(number):
        for attempt in range(20):
            try:
                return await run(store, hold(f"c-{number}", socks=3), exclusive=exclusive[number] or attempt > 2)
            except Stale:
                continue
        raise AssertionError

    answers = [answer for [answer] in await asyncio.gather(*map(buy, range(8)))]
    assert sum(isinstance(answer, Done) for answer in answers) == 3
    assert await available(store) == 1


# Transfers, ids, salts


async def test_a_transfer_moves_both_or_nothing(store):
    command = transfer(4, ("drop", "socks"), ("limited", "socks"))
    async with store.open_transfer(command, DUE_LIMIT) as batch:
        decide_transfer(batch.source, batch.destination, command)
    assert (await available(store), await available(store, sale_id="limited")) == (10, 10)

    async with store.open_transfer(command, DUE_LIMIT) as batch:
        _, taken, given = decide_transfer(batch.source, batch.destination, command)
        await batch.commit(taken, given)
    assert (await available(store), await available(store, sale_id="limited")) == (6, 14)

    async with store.open_transfer(command, DUE_LIMIT) as batch:
        transferred, *nothing = decide_transfer(batch.source, batch.destination, command)
        await batch.commit(*nothing)
    assert transferred.replayed
    assert (await available(store), await available(store, sale_id="limited")) == (6, 14)


async def test_bound_ids_are_those_that_have_a_reservation(store):
    command = hold(socks=1)
    await run(store, command)

    assert await store.bound_ids("drop", [command.reservation_id, uuid4()]) == {command.reservation_id}
    assert await store.bound_ids("limited", [command.reservation_id]) == set()


async def test_each_sale_has_a_salt_of_its_own_that_stays(store):
    assert await store.salt("drop") == await store.salt("drop") == (await state(store)).sale.salt
    assert await store.salt("drop") != await store.salt("limited")
    with pytest.raises(NotFound):
        await store.salt("nowhere")
