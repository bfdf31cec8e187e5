"""Returning sold units."""

import pytest

from holdfast_inventory.domain.decide import Done, decide
from holdfast_inventory.domain.errors import (
    NotFound,
    NotReturnable,
    RequestIdReused,
    ReservationExpired,
    ReservationHeld,
    ReservationReleased,
)
from holdfast_inventory.domain.movement import AdjustReason, MovementKind
from holdfast_inventory.domain.reservation import Line, ReservationState
from tests.unit.domain.stage import NOON, create, ended, hold, reading, shoe, take_back

CONFIRMED, RELEASED, EXPIRED = ReservationState.CONFIRMED, ReservationState.RELEASED, ReservationState.EXPIRED
SOLD = ended(1, CONFIRMED, quantity=3, order="o-1")


def test_returned_units_are_for_sale_again():
    decision = decide(reading(shoe(2, sold=3), known=[SOLD]), [take_back(5, 1)])

    returned = SOLD._replace(returned=(Line("shoe", 3),))
    assert [Done(returned, replayed=False, executed_at=NOON)] == decision.answers
    assert [returned] == decision.changed
    assert [shoe(5, sold=0, version=8)] == decision.items
    [movement] = decision.movements
    assert (movement.kind, movement.on_hand_delta, movement.sold_delta) == (MovementKind.RETURN, 3, -3)
    assert (movement.reservation_id, movement.reason) == (SOLD.reservation_id, AdjustReason.RETURNED)
    assert movement.actor == "clerk"


def test_units_that_are_written_off_are_no_longer_sold_and_not_for_sale():
    decision = decide(
        reading(shoe(2, sold=3), known=[SOLD]), [take_back(5, 1, restock=False, reason=AdjustReason.DAMAGED)]
    )

    assert [shoe(2, sold=0, version=8)] == decision.items
    [movement] = decision.movements
    assert (movement.on_hand_delta, movement.sold_delta, movement.reason) == (0, -3, AdjustReason.DAMAGED)


def test_units_may_be_returned_in_parts_until_none_is_left():
    first, rest, more = take_back(5, 1, 2), take_back(6, 1), take_back(7, 1)

    decision = decide(reading(shoe(2, sold=3), known=[SOLD]), [first, rest, more])

    one, two, three = decision.answers
    assert one.reservation.returned == (Line("shoe", 2),)
    assert two.reservation.returned == (Line("shoe", 3),)
    assert isinstance(three, NotReturnable)
    assert (three.item_id, three.asked, three.left) == ("shoe", 3, 0)
    assert [shoe(5, sold=0, version=9)] == decision.items


@pytest.mark.parametrize("lines", [(Line("shoe", 4),), (Line("shoe", 1), Line("socks", 1))])
def test_more_than_was_sold_is_refused_as_a_whole(lines):
    decision = decide(reading(shoe(2, sold=3), known=[SOLD]), [take_back(5, 1, lines=lines)])

    assert isinstance(decision.answers[0], NotReturnable)
    assert decision.is_empty


def test_a_return_that_is_sent_again_is_executed_once():
    command = take_back(5, 1, 1)

    decision = decide(reading(shoe(2, sold=3), known=[SOLD]), [command, command])

    first, again = decision.answers
    assert (first.replayed, again.replayed) == (False, True)
    assert first.reservation == again.reservation
    assert len(decision.movements) == 1


def test_another_meaning_under_the_same_request_id_is_refused():
    decision = decide(reading(shoe(2, sold=3), known=[SOLD]), [take_back(5, 1, 1), take_back(5, 1, 2)])

    assert isinstance(decision.answers[1], RequestIdReused)


def test_returned_units_no_longer_count_for_the_customers_limit():
    state = reading(shoe(2, sold=3, limit=3), known=[SOLD], used={"ann": {"shoe": 3}}, per_customer_limit=3)

    decision = decide(state, [create(2, 1), take_back(5, 1, 1), create(2, 1)])

    assert [type(answer).__name__ for answer in decision.answers] == ["CustomerLimitReached", "Done", "Done"]


@pytest.mark.parametrize(
    ("known", "refusal"),
    [
        (hold(1), ReservationHeld),
        (hold(1, age=130), ReservationExpired),
        (ended(1, RELEASED), ReservationReleased),
        (ended(1, EXPIRED), ReservationExpired),
    ],
)
def test_only_sold_units_are_returned(known, refusal):
    decision = decide(reading(shoe(held=1), known=[known]), [take_back(5, 1)])

    assert isinstance(decision.answers[0], refusal)
    assert decision.stock_changes == []


def test_the_reservation_of_another_customer_is_not_found():
    decision = decide(reading(shoe(2, sold=3), known=[SOLD]), [take_back(5, 1, customer="bob")])

    assert isinstance(decision.answers[0], NotFound)
