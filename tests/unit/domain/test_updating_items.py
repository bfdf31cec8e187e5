"""An item's stock is set to a number, and its limit changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.decide import decide_item_update
from holdfast_inventory.domain.errors import BelowHeld, InvalidRequest, NotFound, StockChanged
from holdfast_inventory.domain.item import MAX_UNITS, ItemChanges
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from tests.unit.domain.stage import hold, reading, shoe


def test_stock_is_set_by_one_movement_that_says_why_and_by_whom():
    changes = ItemChanges(on_hand=9, reason=AdjustReason.FOUND)
    item, decision = decide_item_update(reading(shoe(5, held=2)), "shoe", changes, "clerk")

    [movement] = decision.movements
    assert item == shoe(9, held=2, version=8)
    assert [item] == decision.items
    assert (movement.kind, movement.on_hand_delta, movement.reason, movement.actor) == (
        MovementKind.ADJUST, 4, AdjustReason.FOUND, "clerk",
    )  # fmt: skip


@pytest.mark.parametrize("changes", [ItemChanges(), ItemChanges(on_hand=5), ItemChanges(per_customer_limit=3)])
def test_the_same_stock_makes_no_movement(changes):
    item, decision = decide_item_update(reading(), "shoe", changes, "")
    assert decision.is_empty
    assert item == shoe(limit=changes.per_customer_limit or 0)


def test_stock_is_not_set_below_what_is_held_but_due_holds_do_not_count():
    with pytest.raises(BelowHeld):
        decide_item_update(reading(shoe(5, held=3)), "shoe", ItemChanges(on_hand=2), "")
    item, _ = decide_item_update(
        reading(shoe(5, held=3), due=[hold(1, 3, age=200)]), "shoe", ItemChanges(on_hand=2), ""
    )
    assert (item.on_hand, item.held) == (2, 0)


def test_stock_is_set_only_at_the_expected_version():
    assert decide_item_update(reading(), "shoe", ItemChanges(on_hand=1, expected_version=7), "")[0].on_hand == 1
    with pytest.raises(StockChanged) as refused:
        decide_item_update(reading(), "shoe", ItemChanges(on_hand=1, expected_version=6), "")
    assert refused.value.version == 7


def test_more_units_than_can_be_counted_and_a_missing_item_are_refused():
    with pytest.raises(InvalidRequest) as refused:
        decide_item_update(reading(shoe(5, sold=1)), "shoe", ItemChanges(on_hand=MAX_UNITS), "")
    assert [violation.field for violation in refused.value.violations] == ["item.on_hand"]
    with pytest.raises(NotFound):
        decide_item_update(reading(), "hat", ItemChanges(on_hand=1), "")


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_the_movements_add_up_to_the_stock_that_was_set(free, held, sold, wanted):
    before = shoe(free + held, held, sold)
    try:
        item, decision = decide_item_update(reading(before), "shoe", ItemChanges(on_hand=wanted), "")
    except BelowHeld:
        assert wanted < held
        return
    assert wanted >= held
    assert item.on_hand == wanted == before.on_hand + sum(each.on_hand_delta for each in decision.movements)
    assert (item.held, item.sold) == (held, sold)
