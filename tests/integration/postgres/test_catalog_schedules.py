import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.domain.commands import Sweep
from holdfast_inventory.domain.errors import AlreadyExists, NotFound
from holdfast_inventory.domain.item import MAX_UNITS, Item
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from holdfast_inventory.domain.schedule import Remainder, occurrence_id, opening_at_or_before
from tests.support.paging import all_pages
from tests.support.postgres import on_every_version
from tests.support.shopping import HOUR, adjust, confirm, hold, hourly, new_sale

pytestmark = on_every_version


@pytest.fixture
def this_hour():
    return opening_at_or_before(hourly(), datetime.now(UTC))


@pytest.fixture
def open_sale(catalog):
    """Create an occurrence, and return its id."""

    async def open_sale(schedule, open_at):
        assert await catalog.create_occurrence(schedule, open_at)
        return occurrence_id(schedule, open_at)

    return open_sale


@pytest.fixture
def end(sql):
    """End a sale, as if its time had passed."""

    async def end(sale_id):
        await sql.execute(
            "UPDATE sales SET open_at = open_at - interval '1 day', close_at = now() - interval '1 s' "
            "WHERE sale_id = $1",
            sale_id,
        )

    return end


@pytest.fixture
def due(catalog):
    """The sales whose remainder is due, among the newest."""

    async def due(schedule):
        sale_ids, _ = await catalog.occurrences_to_settle(schedule, None, 10)
        return sale_ids

    return due


@pytest.fixture
def stock(catalog):
    """Verify the ledger, and return the units on hand by item."""

    async def stock(sale_id):
        assert (await catalog.verify(sale_id)).discrepancies == []
        _, items = await catalog.snapshot(sale_id)
        return {item.item_id: item.on_hand for item in items}

    return stock


async def test_a_schedule_is_kept_as_it_was_created(catalog):
    new = hourly(socks=3, shoes=5, remainder=Remainder.CARRY_OVER)

    created = await catalog.create_schedule(new)

    assert created == replace(new, created_at=created.created_at, updated_at=created.updated_at)
    assert abs(created.created_at - datetime.now(UTC)) < HOUR
    assert created == await catalog.get_schedule("hourly")


async def test_a_schedule_is_created_once(catalog):
    await catalog.create_schedule(hourly(socks=3))

    with pytest.raises(AlreadyExists) as caught:
        await catalog.create_schedule(hourly(socks=4))
    assert caught.value.resource == "saleSchedules/hourly"


async def test_a_schedule_needs_its_source(catalog):
    with pytest.raises(NotFound) as caught:
        await catalog.create_schedule(hourly(source="main"))
    assert caught.value.resource == "sales/main"


async def test_schedules_are_listed_in_pages_and_deleted_for_good(catalog):
    for name in ("c", "a", "b"):
        await catalog.create_schedule(hourly(name))

    found, sizes = await all_pages(catalog.list_schedules, 2)
    assert [schedule.schedule_id for schedule in found] == ["a", "b", "c"]
    assert sizes == [2, 1]
    await catalog.delete_schedule("b")
    for call in (catalog.delete_schedule("b"), catalog.get_schedule("b")):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.resource == "saleSchedules/b"


async def test_ten_schedulers_create_an_occurrence_once_with_new_units(catalog, this_hour, stock, commits):
    schedule = await catalog.create_schedule(hourly(socks=3, shoes=0))

    answers = await asyncio.gather(*(catalog.create_occurrence(schedule, this_hour) for _ in range(10)))

    assert sorted(answers) == [False] * 9 + [True]
    sale_id = occurrence_id(schedule, this_hour)
    sale = (await catalog.get_sale(sale_id)).sale
    assert (this_hour, this_hour + HOUR, "hourly") == (sale.open_at, sale.close_at, sale.schedule_id)
    assert (2, timedelta(seconds=60), True) == (sale.per_customer_limit, sale.hold_time, sale.limits_customers)
    assert await stock(sale_id) == {"shoes": 0, "socks": 3}
    [movement] = await catalog.list_movements(sale_id, 0, 10)
    assert (movement.kind, movement.reason) == (MovementKind.ADJUST, AdjustReason.RECEIVED)
    assert movement.actor == "saleSchedules/hourly"
    assert [(sale_id, 0, 1)] == [commit[:3] for commit in commits]


async def test_a_deleted_schedule_opens_nothing(catalog, this_hour):
    schedule = await catalog.create_schedule(hourly(socks=3))
    await catalog.delete_schedule("hourly")

    assert not await catalog.create_occurrence(schedule, this_hour)
    with pytest.raises(NotFound):
        await catalog.get_sale(occurrence_id(schedule, this_hour))


async def test_units_are_drawn_from_the_source_as_many_as_there_are(
    catalog, ledger, this_hour, open_sale, stock, commits
):
    await catalog.create_sale(new_sale("main", socks=10, shoes=3, gloves=4))
    await ledger.execute("main", hold(shoes=1), None)
    schedule = await catalog.create_schedule(hourly(source="main", socks=4, shoes=4, hats=4))
    commits.clear()

    sale_id = await open_sale(schedule, this_hour)

    assert await stock(sale_id) == {"hats": 0, "shoes": 2, "socks": 4}
    assert await stock("main") == {"gloves": 4, "shoes": 1, "socks": 6}
    assert {MovementKind.TRANSFER} == {each.kind for each in await catalog.list_movements(sale_id, 0, 10)}
    assert [("main", 4, 6), (sale_id, 0, 2)] == [commit[:3] for commit in commits]


async def test_units_under_due_holds_are_drawn_too(catalog, ledger, this_hour, open_sale, stock, sql):
    await catalog.create_sale(new_sale("main", socks=10))
    await ledger.execute("main", hold(socks=10), None)
    await sql.execute("UPDATE reservations SET expires_at = now() - interval '1 s'")
    schedule = await catalog.create_schedule(hourly(source="main", socks=4))

    sale_id = await open_sale(schedule, this_hour)

    assert await stock(sale_id) == {"socks": 4}
    assert await stock("main") == {"socks": 6}


async def test_concurrent_draws_from_one_source_share_what_there_is(catalog, this_hour, stock):
    await catalog.create_sale(new_sale("main", socks=10))
    schedules = [await catalog.create_schedule(hourly(f"s{n}", source="main", socks=4)) for n in range(4)]

    await asyncio.gather(*(catalog.create_occurrence(schedule, this_hour) for schedule in schedules))

    drawn = [(await stock(occurrence_id(schedule, this_hour)))["socks"] for schedule in schedules]
    assert sorted(drawn) == [0, 2, 4, 4]
    assert await stock("main") == {"socks": 0}


async def test_what_remains_returns_to_the_source_once(catalog, ledger, this_hour, open_sale, end, due, stock):
    await catalog.create_sale(new_sale("main", socks=10))
    schedule = await catalog.create_schedule(hourly(source="main", remainder=Remainder.RETURN, socks=4))
    sale_id = await open_sale(schedule, this_hour)
    held = (await ledger.execute(sale_id, hold(socks=1), None)).reservation
    await ledger.execute(sale_id, adjust("socks", 5), None)

    assert not await catalog.settle_remainder(schedule, sale_id), "it is open"
    await end(sale_id)
    assert await due(schedule) == []
    assert not await catalog.settle_remainder(schedule, sale_id), "a hold is open"
    await ledger.execute(sale_id, confirm(held), None)

    assert await due(schedule) == [sale_id]
    assert all(await asyncio.gather(*(catalog.settle_remainder(schedule, sale_id) for _ in range(5))))
    assert await due(schedule) == []
    assert await stock(sale_id) == {"socks": 0}
    assert await stock("main") == {"socks": 14}


async def test_what_remains_carries_over_to_the_next_that_is_not_over(catalog, this_hour, open_sale, end, due, stock):
    schedule = await catalog.create_schedule(hourly(remainder=Remainder.CARRY_OVER, socks=4))
    first, second = [await open_sale(schedule, this_hour - n * HOUR) for n in (3, 2)]
    await catalog.create_item(first, replace(schedule.items[0], item_id="extra", on_hand=1))

    assert not await catalog.settle_remainder(schedule, first), "the next is over, and none follows yet"
    third, fourth = [await open_sale(schedule, this_hour + n * HOUR) for n in (0, 1)]
    assert await due(schedule) == [first, second]
    for sale_id in (first, second):
        assert await catalog.settle_remainder(schedule, sale_id)

    assert await stock(first) == {"extra": 0, "socks": 0}
    assert await stock(second) == {"socks": 0}
    assert await stock(third) == {"extra": 1, "socks": 12}
    assert await stock(fourth) == {"socks": 4}
    assert (await catalog.get_item(third, "extra")).per_customer_limit == 1


async def test_a_cancelled_occurrence_is_settled_when_its_holds_have_ended(
    catalog, ledger, this_hour, open_sale, stock
):
    await catalog.create_sale(new_sale("main", socks=4))
    schedule = await catalog.create_schedule(hourly(source="main", remainder=Remainder.RETURN, socks=4))
    sale_id = await open_sale(schedule, this_hour)
    await ledger.execute(sale_id, hold(socks=1), None)
    await catalog.cancel_sale(sale_id)
    assert not await catalog.settle_remainder(schedule, sale_id)

    await ledger.execute(sale_id, Sweep(), None)

    assert await catalog.settle_remainder(schedule, sale_id)
    assert await stock("main") == {"socks": 4}


async def test_units_that_the_destination_cannot_count_stay(catalog, this_hour, open_sale, end, stock):
    await catalog.create_sale(new_sale("main", socks=4))
    schedule = await catalog.create_schedule(hourly(source="main", remainder=Remainder.RETURN, socks=4))
    sale_id = await open_sale(schedule, this_hour)
    await catalog.create_item("main", replace(schedule.items[0], item_id="full", on_hand=MAX_UNITS - 1))
    await catalog.create_item(sale_id, replace(schedule.items[0], item_id="full", on_hand=3))
    await end(sale_id)

    await catalog.settle_remainder(schedule, sale_id)

    assert await stock(sale_id) == {"full": 2, "socks": 0}
    assert (await catalog.get_item("main", "full")) == Item("full", MAX_UNITS, 0, 0, 1, 4)


async def test_a_remainder_that_stays_is_never_due(catalog, this_hour, open_sale, end, due, stock):
    schedule = await catalog.create_schedule(hourly(socks=4))
    sale_id = await open_sale(schedule, this_hour)
    await end(sale_id)

    assert await due(schedule) == []
    assert await catalog.settle_remainder(schedule, sale_id)
    assert await stock(sale_id) == {"socks": 4}


async def test_what_comes_back_to_a_sale_long_past_is_found_by_looking_further_back_each_time(
    catalog, ledger, this_hour, open_sale
):
    await catalog.create_sale(new_sale("main", socks=0))
    schedule = await catalog.create_schedule(hourly(source="main", remainder=Remainder.RETURN, socks=4))
    past = [await open_sale(schedule, this_hour - n * HOUR) for n in range(7, 0, -1)]
    await ledger.execute(past[0], adjust("socks", 1), None)
    await ledger.execute(past[-1], adjust("socks", 1), None)

    looks, before = [], None
    for _ in range(4):
        sale_ids, before = await catalog.occurrences_to_settle(schedule, before, 2)
        looks.append((sale_ids, before))

    newest, oldest = past[-1], past[0]
    assert looks == [
        ([newest], this_hour - 4 * HOUR),
        ([newest], this_hour - 6 * HOUR),
        ([oldest, newest], this_hour - 7 * HOUR),
        ([newest], None),
    ]
