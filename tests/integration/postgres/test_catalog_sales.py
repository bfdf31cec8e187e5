import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.domain.errors import AlreadyExists, InvalidRequest, NotFound
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from holdfast_inventory.domain.reservation import ReservationFilter, ReservationState
from holdfast_inventory.domain.sale import NewItem, SaleChanges, SaleState
from tests.support.paging import all_pages
from tests.support.postgres import on_every_version
from tests.support.shopping import HOUR, hold, new_sale

pytestmark = on_every_version

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


async def test_a_new_sale_has_its_first_stock_as_movements(catalog, commits):
    view = await catalog.create_sale(new_sale(socks=3, shoes=5, hats=0))

    assert view.state is SaleState.OPEN
    assert view.sale.sequence == 2
    assert view == await catalog.get_sale("drop")
    movements = await catalog.list_movements("drop", 0, 10)
    assert [(each.sequence, each.item_id, each.on_hand_delta) for each in movements] == [
        (1, "socks", 3),
        (2, "shoes", 5),
    ]
    assert {(MovementKind.ADJUST, AdjustReason.RECEIVED)} == {(each.kind, each.reason) for each in movements}
    sequence, items = await catalog.snapshot("drop")
    assert sequence == 2
    assert items == [Item("hats", 0, 0, 0, 0, 0), Item("shoes", 5, 0, 0, 0, 2), Item("socks", 3, 0, 0, 0, 1)]
    assert [commit[:3] for commit in commits] == [("drop", 0, 2)]


async def test_a_sale_is_created_once(catalog):
    async def create(units):
        try:
            return await catalog.create_sale(new_sale(socks=units))
        except AlreadyExists as refusal:
            return refusal.resource

    answers = await asyncio.gather(*(create(units) for units in range(1, 5)))

    assert answers.count("sales/drop") == 3
    assert (await catalog.get_sale("drop")).sale.sequence == 1


async def test_each_sale_has_a_salt_of_its_own(catalog):
    one, other = [(await catalog.create_sale(new_sale(name))).sale for name in ("one", "other")]

    assert len(one.salt) == 32
    assert one.salt != other.salt


async def test_a_window_that_closes_before_it_opens_is_refused_by_name(catalog):
    with pytest.raises(InvalidRequest) as caught:
        await catalog.create_sale(new_sale(close_at=PAST))

    assert [violation.field for violation in caught.value.violations] == ["sale.close_time"]
    with pytest.raises(NotFound):
        await catalog.get_sale("drop")


async def test_what_does_not_exist_is_named(catalog):
    nowhere = {
        "sales/x": [
            catalog.get_sale("x"),
            catalog.update_sale("x", SaleChanges()),
            catalog.set_paused("x", paused=True),
            catalog.cancel_sale("x"),
            catalog.create_item("x", NewItem("socks", 1, 0)),
            catalog.list_items("x", 10, None),
            catalog.snapshot("x"),
            catalog.list_reservations(ReservationFilter("x"), 10, None),
            catalog.list_reservations(ReservationFilter("x", customer="c-1"), 10, None),
            catalog.list_reservations(ReservationFilter("x", order="o-1"), 10, None),
            catalog.list_reservations(ReservationFilter("x", state=ReservationState.HELD), 10, None),
            catalog.list_movements("x", 0, 10),
            catalog.verify("x"),
        ],
        "sales/x/items/socks": [catalog.get_item("x", "socks")],
    }
    for resource, calls in nowhere.items():
        for call in calls:
            with pytest.raises(NotFound) as caught:
                await call
            assert caught.value.resource == resource


async def test_rules_change_and_stock_does_not(catalog):
    before = (await catalog.create_sale(new_sale(socks=3))).sale

    after = (await catalog.update_sale("drop", SaleChanges(close_at=FUTURE, per_customer_limit=4))).sale

    assert (after.close_at, after.per_customer_limit, after.limits_customers) == (FUTURE, 4, True)
    assert after.updated_at > before.updated_at
    assert after.sequence == before.sequence
    assert (await catalog.update_sale("drop", SaleChanges(never_closes=True))).sale.close_at is None


async def test_an_update_without_effect_changes_nothing(catalog):
    before = await catalog.create_sale(new_sale(limit=3))

    assert before == await catalog.update_sale("drop", SaleChanges(per_customer_limit=3))
    assert before == await catalog.set_paused("drop", paused=False)


async def test_rules_that_do_not_fit_together_are_all_told(catalog):
    before = await catalog.create_sale(new_sale(close_at=FUTURE))

    with pytest.raises(InvalidRequest) as caught:
        await catalog.update_sale("drop", SaleChanges(close_at=PAST, max_hold_time=timedelta(seconds=30)))

    assert [violation.field for violation in caught.value.violations] == ["sale.close_time", "sale.hold_time"]
    assert before == await catalog.get_sale("drop")


async def test_use_is_counted_as_long_as_anything_limits_customers(catalog):
    await catalog.create_sale(new_sale(limit=2, socks=1))
    assert not (await catalog.update_sale("drop", SaleChanges(per_customer_limit=0))).sale.limits_customers

    await catalog.create_item("drop", NewItem("shoes", 1, 3))

    assert (await catalog.get_sale("drop")).sale.limits_customers
    assert (await catalog.update_sale("drop", SaleChanges(hold_time=timedelta(seconds=5)))).sale.limits_customers


async def test_pause_and_cancel_show_in_the_state(catalog):
    await catalog.create_sale(new_sale())

    assert (await catalog.set_paused("drop", paused=True)).state is SaleState.PAUSED
    assert (await catalog.set_paused("drop", paused=False)).state is SaleState.OPEN
    cancelled = await catalog.cancel_sale("drop")
    assert cancelled.state is SaleState.CANCELLED
    assert cancelled == await catalog.cancel_sale("drop")


async def test_sales_are_listed_in_pages_the_newest_first(catalog):
    for number in range(5):
        await catalog.create_sale(new_sale(f"drop-{number}", schedule_id="hourly" if number % 2 else None))

    views, sizes = await all_pages(lambda size, cursor: catalog.list_sales(size, cursor, None, None), 2)
    assert [f"drop-{number}" for number in (4, 3, 2, 1, 0)] == [view.sale.sale_id for view in views]
    assert sizes == [2, 2, 1]
    views, _ = await all_pages(lambda size, cursor: catalog.list_sales(size, cursor, None, "hourly"), 1)
    assert [view.sale.sale_id for view in views] == ["drop-3", "drop-1"]


@pytest.mark.parametrize("schedule_id", [None, "hourly"])
async def test_a_sale_that_is_created_between_two_pages_moves_no_other(catalog, schedule_id):
    for number in range(4):
        await catalog.create_sale(new_sale(f"drop-{number}", schedule_id="hourly"))

    first, cursor = await catalog.list_sales(2, None, None, schedule_id)
    await catalog.create_sale(new_sale("newer", schedule_id="hourly"))
    second, end = await catalog.list_sales(2, cursor, None, schedule_id)
    again, _ = await catalog.list_sales(2, None, None, schedule_id)

    assert [view.sale.sale_id for view in (*first, *second)] == ["drop-3", "drop-2", "drop-1", "drop-0"]
    assert end is None
    assert [view.sale.sale_id for view in again] == ["newer", "drop-3"]


async def test_sales_of_one_age_are_listed_by_id(catalog, sql):
    for number in range(5):
        await catalog.create_sale(new_sale(f"drop-{number}"))
    await sql.execute("UPDATE sales SET created_at = now()")

    views, _ = await all_pages(lambda size, cursor: catalog.list_sales(size, cursor, None, None), 2)
    assert [view.sale.sale_id for view in views] == [f"drop-{number}" for number in (4, 3, 2, 1, 0)]


async def test_sales_are_listed_by_state(catalog):
    await catalog.create_sale(new_sale("a-scheduled", open_at=FUTURE))
    await catalog.create_sale(new_sale("b-open"))
    await catalog.create_sale(new_sale("c-closed", open_at=PAST, close_at=PAST + HOUR))
    await catalog.create_sale(new_sale("d-paused"))
    await catalog.set_paused("d-paused", paused=True)
    await catalog.create_sale(new_sale("e-cancelled"))
    await catalog.cancel_sale("e-cancelled")
    await catalog.create_sale(new_sale("f-open"))

    for state in SaleState:
        views, _ = await all_pages(lambda size, cursor, state=state: catalog.list_sales(size, cursor, state, None), 1)
        assert {state} == {view.state for view in views}
        assert len(views) == (2 if state is SaleState.OPEN else 1)


async def test_a_list_by_state_gives_up_a_page_that_would_cost_too_much(catalog, monkeypatch):
    monkeypatch.setattr("holdfast_inventory.postgres.catalog._STRETCH_ROWS", 2)
    monkeypatch.setattr("holdfast_inventory.postgres.catalog._MOST_STRETCHES", 2)
    for number in range(7):
        await catalog.create_sale(new_sale(f"drop-{number}", open_at=None if number == 0 else FUTURE))

    views, sizes = await all_pages(lambda size, cursor: catalog.list_sales(size, cursor, SaleState.OPEN, None), 5)

    assert [view.sale.sale_id for view in views] == ["drop-0"]
    assert sizes == [0, 1]


async def test_an_item_comes_with_its_first_stock(catalog, commits):
    await catalog.create_sale(new_sale(socks=3))

    item = await catalog.create_item("drop", NewItem("shoes", 7, 2))

    assert item == Item("shoes", 7, 0, 0, 2, 2)
    assert item == await catalog.get_item("drop", "shoes")
    assert commits[-1] == ("drop", 1, 2, [item])
    with pytest.raises(AlreadyExists) as caught:
        await catalog.create_item("drop", NewItem("shoes", 9, 0))
    assert caught.value.resource == "sales/drop/items/shoes"
    assert (await catalog.verify("drop")).discrepancies == []


async def test_items_are_listed_in_pages(catalog):
    await catalog.create_sale(new_sale(e=1, d=2, c=3, b=4, a=5))

    items, sizes = await all_pages(lambda size, cursor: catalog.list_items("drop", size, cursor), 2)

    assert [item.item_id for item in items] == ["a", "b", "c", "d", "e"]
    assert sizes == [2, 2, 1]


async def test_a_sale_without_items_lists_none(catalog):
    await catalog.create_sale(new_sale())

    assert await catalog.list_items("drop", 10, None) == ([], None)
    assert await catalog.snapshot("drop") == (0, [])


async def test_a_sale_is_swept_when_a_hold_is_due_or_it_was_cancelled(catalog, ledger, sql):
    for name in ("due", "cancelled", "patient", "released", "empty"):
        await catalog.create_sale(new_sale(name, socks=5))
        if name != "empty":
            await ledger.execute(name, hold(socks=1), None)
    await sql.execute("UPDATE reservations SET expires_at = now() - interval '1 minute' WHERE sale_id = 'due'")
    await sql.execute("UPDATE reservations SET state = 3, ended_at = now() WHERE sale_id = 'released'")
    await catalog.cancel_sale("cancelled")

    sale_ids, due_for_seconds = await catalog.sales_to_sweep(10)
    assert sale_ids == ["due", "cancelled"]
    assert 60 <= due_for_seconds < 600
    assert (await catalog.sales_to_sweep(1))[0] == ["due"]


async def test_the_databases_clock_is_aware(catalog):
    assert abs(await catalog.database_now() - datetime.now(UTC)) < HOUR
