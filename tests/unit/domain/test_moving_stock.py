"""Adjusting stock, and transferring it to another sale."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import Transfer
from holdfast_inventory.domain.decide import Adjusted, StockChange, Transferred, decide, decide_transfer
from holdfast_inventory.domain.errors import (
    BelowHeld,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    RequestIdReused,
    StockChanged,
)
from holdfast_inventory.domain.item import MAX_UNITS
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from tests.unit.domain.stage import NOON, SALE, adjust, create, hold, reading, shoe

EARLIER = NOON - timedelta(seconds=1)


def made(command, at):
    return {command.change_id: StockChange(command.change_id, command.fingerprint, at)}


def test_an_adjustment_changes_on_hand_and_says_why_and_by_whom():
    decision = decide(reading(), [adjust(1, -2, AdjustReason.DAMAGED)])

    assert [Adjusted(shoe(3, version=8), replayed=False, executed_at=NOON)] == decision.answers
    [movement] = decision.movements
    assert (
        movement.kind,
        movement.on_hand_delta,
        movement.reason,
        movement.actor,
    ) == (MovementKind.ADJUST, -2, AdjustReason.DAMAGED, "clerk")


@pytest.mark.parametrize(("delta", "is_done"), [(-3, True), (-4, False)])
def test_an_adjustment_leaves_what_is_held(delta, is_done):
    [answer] = decide(reading(shoe(5, held=2)), [adjust(1, delta)]).answers

    assert is_done == isinstance(answer, Adjusted)
    if not is_done:
        assert isinstance(answer, BelowHeld)
        assert (answer.on_hand, answer.held) == (5, 2)


def test_an_adjustment_ends_due_holds_before_it_is_refused():
    dead = hold(1, 5, age=200)

    [answer] = decide(reading(shoe(5, held=5), due=[dead]), [adjust(1, -5)]).answers

    assert isinstance(answer, Adjusted)
    assert decide(reading(shoe(5, held=5), more_due=True), [adjust(1, -5)]).starved


def test_stock_may_be_changed_on_condition_that_nobody_else_has():
    state = reading(shoe(version=7))

    first, second = decide(state, [adjust(1, 1, expected_version=7), adjust(2, 1, expected_version=7)]).answers

    assert Adjusted(shoe(6, version=8), replayed=False, executed_at=NOON) == first
    assert isinstance(second, StockChanged)
    assert second.version == 8


def test_a_hold_counts_as_a_change():
    _, refusal = decide(reading(shoe(version=7)), [create(1), adjust(2, 1, expected_version=7)]).answers

    assert isinstance(refusal, StockChanged)


def test_an_adjustment_happens_once_for_each_id_whatever_the_version_is_now():
    command = adjust(1, 1, expected_version=7)

    decision = decide(reading(), [command, command])

    assert [answer.replayed for answer in decision.answers] == [False, True]
    assert [shoe(6, version=8)] == decision.items
    assert [StockChange(command.change_id, command.fingerprint, NOON)] == decision.stock_changes


def test_an_adjustment_done_in_an_earlier_batch_is_answered_with_the_item_as_it_is_now():
    command = adjust(1, 1)
    state = reading(shoe(3), stock_changes=made(command, EARLIER))

    decision = decide(state, [command])

    assert [Adjusted(shoe(3), replayed=True, executed_at=EARLIER)] == decision.answers
    assert decision.is_empty


def test_another_adjustment_under_the_same_id_is_refused():
    _, refusal = decide(reading(), [adjust(1, 1), adjust(1, 2)]).answers

    assert isinstance(refusal, RequestIdReused)


def test_an_item_counts_to_the_end_of_int32_with_what_it_has_sold():
    item = shoe(MAX_UNITS - 10, sold=8)

    fits, too_many = decide(reading(item), [adjust(1, 2), adjust(2, 1)]).answers

    assert isinstance(fits, Adjusted)
    assert isinstance(too_many, InvalidRequest)
    assert too_many.violations[0].field == "delta"


# Transfers

OUTLET = replace(SALE, sale_id="outlet", sequence=3)


def transfer(quantity: int, number: int = 1, item_id: str = "shoe", to: str = "boot") -> Transfer:
    fingerprint = identity.transfer_fingerprint(item_id, "outlet", to, quantity)
    return Transfer(UUID(int=number), "drop", item_id, "outlet", to, quantity, "clerk", fingerprint)


def outlet(on_hand: int = 1):
    return replace(reading(shoe(on_hand, item_id="boot", version=3)), sale=OUTLET)


def test_a_transfer_moves_units_between_two_ledgers():
    answer, taken, given = decide_transfer(reading(), outlet(), transfer(2))

    assert (
        Transferred(shoe(3, version=8), shoe(3, item_id="boot", version=4), replayed=False, executed_at=NOON) == answer
    )
    assert [movement.on_hand_delta for movement in taken.movements] == [-2]
    assert [movement.on_hand_delta for movement in given.movements] == [2]
    assert (taken.sequence, given.sequence) == (8, 4)
    assert [change.change_id for change in taken.stock_changes] == [UUID(int=1)]
    assert given.stock_changes == []


def test_a_transfer_takes_only_what_is_available():
    with pytest.raises(InsufficientStock, match="shoe: 4 asked, 3 available"):
        decide_transfer(reading(shoe(5, held=2)), outlet(), transfer(4))


def test_a_transfer_happens_once_for_each_id():
    command = transfer(2)
    done = reading(shoe(3), stock_changes=made(command, EARLIER))

    answer, taken, given = decide_transfer(done, outlet(3), command)

    assert answer.replayed
    assert taken.is_empty
    assert given.is_empty
    with pytest.raises(RequestIdReused):
        decide_transfer(done, outlet(3), transfer(1))


@pytest.mark.parametrize("command", [transfer(1, item_id="hat"), transfer(1, to="hat")])
def test_a_transfer_needs_both_items(command):
    with pytest.raises(NotFound, match=r"sales/(drop|outlet)/items/hat"):
        decide_transfer(reading(), outlet(), command)


def test_a_transfer_fits_into_the_destination_or_is_refused():
    with pytest.raises(InvalidRequest, match="quantity"):
        decide_transfer(reading(), outlet(MAX_UNITS), transfer(1))


def test_a_transfer_counts_no_due_holds_on_either_side():
    source = reading(shoe(5, held=5), due=[hold(1, 5, age=200)])
    dead = hold(2, age=200, lines=create(2).lines)
    destination = replace(reading(shoe(1, item_id="boot"), shoe(1, held=1), due=[dead]), sale=OUTLET)

    _, taken, given = decide_transfer(source, destination, transfer(5))

    assert [movement.kind for movement in taken.movements] == [MovementKind.EXPIRE, MovementKind.TRANSFER]
    assert [movement.kind for movement in given.movements] == [MovementKind.EXPIRE, MovementKind.TRANSFER]
