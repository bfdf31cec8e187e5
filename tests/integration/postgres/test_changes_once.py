"""A change of a sale is made once for its request id, and only to the sale that was expected."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from holdfast_inventory.domain.change import Cause, ChangeKind, Condition
from holdfast_inventory.domain.errors import (
    AlreadyExists,
    BelowHeld,
    NotFound,
    RequestIdReused,
    SaleChanged,
    SaleInUse,
    StockChanged,
)
from holdfast_inventory.domain.item import ItemChanges
from holdfast_inventory.domain.reservation import ReservationFilter
from holdfast_inventory.domain.sale import SaleChanges, SaleState
from tests.support.postgres import on_every_version
from tests.support.shopping import adjust, hold, hourly, new_sale

pytestmark = on_every_version


def once(meaning=b"meaning", etag=""):
    return Condition(uuid.uuid4(), meaning, etag)


@pytest.fixture
async def sale(catalog):
    return (await catalog.create_sale(new_sale("drop", socks=5))).sale


async def test_a_late_repetition_does_not_undo_a_later_change(catalog, sale):
    pause = once()
    await catalog.set_paused("drop", True, condition=pause)
    await catalog.set_paused("drop", False, condition=once())

    again = await catalog.set_paused("drop", True, condition=pause)

    assert again == (again.sale, SaleState.OPEN, True)
    assert [each.kind for each in await catalog.list_changes("drop", 0, 9)][1:] == [ChangeKind.PAUSE, ChangeKind.RESUME]


async def test_a_change_without_effect_is_not_made_later_either(catalog, sale):
    resume = once()
    await catalog.set_paused("drop", False, condition=resume)
    await catalog.set_paused("drop", True)

    assert (await catalog.set_paused("drop", False, condition=resume)).state is SaleState.PAUSED


async def test_attempts_that_come_at_once_are_one_change(catalog, sale):
    update = once()
    views = await asyncio.gather(
        *(catalog.update_sale("drop", SaleChanges(per_customer_limit=3), condition=update) for _ in range(8))
    )
    assert sorted(view.replayed for view in views) == [False] + [True] * 7
    assert {view.sale.per_customer_limit for view in views} == {3}
    assert len(await catalog.list_changes("drop", 0, 9)) == 2


async def test_an_id_with_another_meaning_is_refused(catalog, sale):
    pause = once()
    await catalog.set_paused("drop", True, condition=pause)
    with pytest.raises(RequestIdReused):
        await catalog.set_paused("drop", False, condition=pause._replace(fingerprint=b"other"))


async def test_a_change_is_made_only_to_the_sale_that_was_read(catalog, ledger, sale):
    await ledger.execute("drop", adjust("socks", 1), None)
    update = once(etag=sale.etag)
    changed = (await catalog.update_sale("drop", SaleChanges(per_customer_limit=3), condition=update)).sale
    assert changed.etag != sale.etag

    for refused in (
        catalog.update_sale("drop", SaleChanges(per_customer_limit=4), condition=once(etag=sale.etag)),
        catalog.set_paused("drop", True, condition=once(etag=sale.etag)),
        catalog.cancel_sale("drop", condition=once(etag=sale.etag)),
        catalog.delete_sale("drop", etag=sale.etag),
    ):
        with pytest.raises(SaleChanged) as caught:
            await refused
        assert caught.value.etag == changed.etag
    # A repetition is answered, although the sale has another etag by then.
    assert (await catalog.update_sale("drop", SaleChanges(per_customer_limit=3), condition=update)).replayed


async def test_a_paused_and_resumed_sale_has_another_etag_than_before(catalog, sale):
    await catalog.set_paused("drop", True)
    assert (await catalog.set_paused("drop", False)).sale.etag != sale.etag
    assert replace(sale, sequence=99).etag == sale.etag


async def test_an_items_stock_and_limit_are_set_once(catalog, ledger, sale, commits):
    recount = once()
    item, replayed = await catalog.update_item(
        "drop", "socks", ItemChanges(per_customer_limit=2, on_hand=9), Cause("keys/desk"), recount
    )
    assert (item.on_hand, item.per_customer_limit, item.version, replayed) == (9, 2, 2, False)
    assert item == await catalog.get_item("drop", "socks")
    assert commits[-1].items == [item._replace(per_customer_limit=0)]
    assert (await catalog.get_sale("drop")).sale.limits_customers
    assert (await catalog.list_movements("drop", 1, 9))[0].actor == "keys/desk"
    [_, change] = await catalog.list_changes("drop", 0, 9)
    assert (change.kind, change.fields) == (ChangeKind.UPDATE, (("items/socks.per_customer_limit", "0", "2"),))

    await ledger.execute("drop", adjust("socks", -4), None)
    again, replayed = await catalog.update_item(
        "drop", "socks", ItemChanges(per_customer_limit=2, on_hand=9), condition=recount
    )
    assert (again.on_hand, replayed) == (5, True)
    assert (await catalog.verify("drop")).discrepancies == []


async def test_an_item_without_a_limit_leaves_its_customers_uncounted(catalog, sale):
    await catalog.update_item("drop", "socks", ItemChanges(per_customer_limit=2))
    await catalog.update_item("drop", "socks", ItemChanges(per_customer_limit=0))
    assert not (await catalog.get_sale("drop")).sale.limits_customers


async def test_an_item_that_is_held_or_has_changed_is_left_as_it_is(catalog, ledger, sale):
    await ledger.execute("drop", hold(socks=3), None)
    with pytest.raises(BelowHeld):
        await catalog.update_item("drop", "socks", ItemChanges(on_hand=2))
    with pytest.raises(StockChanged):
        await catalog.update_item("drop", "socks", ItemChanges(on_hand=4, expected_version=1))
    with pytest.raises(NotFound):
        await catalog.update_item("drop", "hats", ItemChanges(on_hand=4))


async def test_a_deleted_sale_is_gone_and_its_id_is_used_up(catalog, ledger, sale):
    await ledger.execute("drop", adjust("socks", 1), None)
    await catalog.delete_sale("drop", Cause("clients/alice"))

    for gone in (
        catalog.get_sale("drop"),
        catalog.get_item("drop", "socks"),
        catalog.list_items("drop", 10, None),
        catalog.snapshot("drop"),
        catalog.verify("drop"),
        catalog.list_reservations(ReservationFilter("drop"), 10, None),
        catalog.set_paused("drop", True),
        catalog.delete_sale("drop"),
        ledger.execute("drop", hold(socks=1), None),
        ledger.execute("drop", adjust("socks", 1), None),
        ledger.salt("drop", None),
    ):
        with pytest.raises(NotFound):
            await gone
    assert await catalog.list_sales(10, None, None, None) == ([], None)
    assert [each.kind for each in await catalog.list_changes("drop", 0, 9)] == [ChangeKind.CREATE, ChangeKind.DELETE]
    with pytest.raises(AlreadyExists):
        await catalog.create_sale(new_sale("drop", socks=5))


async def test_a_sale_with_a_history_is_not_deleted(catalog, ledger, sale):
    held = await ledger.execute("drop", hold(socks=1), None)
    await catalog.create_sale(new_sale("source", socks=5))
    await catalog.create_schedule(hourly(source="source", socks=1))
    assert held.reservation

    for sale_id in ("drop", "source"):
        with pytest.raises(SaleInUse):
            await catalog.delete_sale(sale_id)
        assert (await catalog.get_sale(sale_id)).state is SaleState.OPEN


async def test_a_deletion_and_a_hold_at_once_never_both_succeed(catalog, ledger):
    for n in range(20):
        await catalog.create_sale(new_sale(f"s-{n}", socks=1))
        outcomes = await asyncio.gather(
            catalog.delete_sale(f"s-{n}"), ledger.execute(f"s-{n}", hold(socks=1), None), return_exceptions=True
        )
        assert isinstance(outcomes[0], SaleInUse) != isinstance(outcomes[1], NotFound)
