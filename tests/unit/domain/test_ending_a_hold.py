"""Confirming, releasing, extending and expiring."""

import pytest

from holdfast_inventory.domain.commands import Sweep
from holdfast_inventory.domain.decide import Done, Swept, decide
from holdfast_inventory.domain.errors import (
    CustomerLimitReached,
    ExtensionLimitReached,
    InsufficientStock,
    NotFound,
    ReservationConfirmed,
    ReservationExpired,
    ReservationReleased,
    SaleClosed,
)
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.reservation import ReservationState
from tests.unit.domain.stage import NOON, confirm, create, ended, extend, hold, reading, release, seconds, shoe

CONFIRMED, RELEASED, EXPIRED = ReservationState.CONFIRMED, ReservationState.RELEASED, ReservationState.EXPIRED


def test_confirming_sells_what_is_held():
    decision = decide(reading(shoe(held=2), known=[hold(1, 2)]), [confirm(1, "o-1")])

    sold = hold(1, 2)._replace(state=CONFIRMED, ended_at=NOON, order="o-1")
    assert [Done(sold, replayed=False, executed_at=sold.ended_at)] == decision.answers
    assert [sold] == decision.changed
    assert [shoe(3, held=0, sold=2, version=8)] == decision.items


def test_releasing_gives_back_what_is_held():
    decision = decide(reading(shoe(held=2), known=[hold(1, 2)]), [release(1)])

    freed = hold(1, 2)._replace(state=RELEASED, ended_at=NOON)
    assert [Done(freed, replayed=False, executed_at=freed.ended_at)] == decision.answers
    assert [shoe(held=0, version=8)] == decision.items


def test_a_reservation_may_be_made_and_ended_in_one_batch():
    decision = decide(reading(), [create(1), confirm(1, "o-1"), create(2), release(2)])

    assert [reservation.state for reservation in decision.created] == [CONFIRMED, RELEASED]
    assert decision.changed == []
    assert [shoe(4, sold=1, version=11)] == decision.items


@pytest.mark.parametrize("order", ["o-1", ""])
def test_confirming_again_with_the_same_order_or_none_changes_nothing(order):
    sold = ended(1, CONFIRMED, order="o-1")

    decision = decide(reading(known=[sold]), [confirm(1, order)])

    assert [Done(sold, replayed=True, executed_at=sold.ended_at)] == decision.answers
    assert decision.is_empty


def test_releasing_again_changes_nothing():
    freed = ended(1, RELEASED)

    decision = decide(reading(known=[freed]), [release(1)])

    assert [Done(freed, replayed=True, executed_at=freed.ended_at)] == decision.answers
    assert decision.is_empty


@pytest.mark.parametrize(
    ("state", "command", "refusal"),
    [
        (CONFIRMED, confirm(1, "o-2"), ReservationConfirmed),
        (CONFIRMED, release(1), ReservationConfirmed),
        (CONFIRMED, extend(1, NOON + seconds(300)), ReservationConfirmed),
        (RELEASED, confirm(1), ReservationReleased),
        (RELEASED, confirm(1, allow_late=True), ReservationReleased),
        (RELEASED, extend(1, NOON + seconds(300)), ReservationReleased),
        (EXPIRED, confirm(1), ReservationExpired),
        (EXPIRED, release(1), ReservationExpired),
        (EXPIRED, extend(1, NOON + seconds(300)), ReservationExpired),
    ],
)
def test_what_has_ended_stays_so(state, command, refusal):
    decision = decide(reading(known=[ended(1, state, order="o-1")]), [command])

    assert isinstance(decision.answers[0], refusal)
    assert decision.is_empty


@pytest.mark.parametrize("command", [confirm(1, customer="bob"), release(1, "bob"), extend(1, NOON, "bob"), confirm(2)])
def test_another_customers_reservation_looks_like_one_that_does_not_exist(command):
    [refusal] = decide(reading(shoe(held=1), known=[hold(1, customer="ann")]), [command]).answers

    assert isinstance(refusal, NotFound)
    assert f"sales/drop/reservations/{command.reservation_id}" == refusal.resource


@pytest.mark.parametrize("rules", [{"paused": True}, {"close_at": NOON - seconds(5)}])
def test_a_hold_taken_in_time_outlives_pause_and_close(rules):
    commands = [extend(1, NOON + seconds(300)), confirm(1), release(2)]

    answers = decide(reading(shoe(held=2), known=[hold(1), hold(2)], **rules), commands).answers

    assert all(isinstance(answer, Done) for answer in answers)


# The end of time


@pytest.mark.parametrize(("left", "answer"), [(0, ReservationExpired), (0.000001, Done)])
def test_a_hold_is_over_at_its_very_expiry(left, answer):
    known = hold(1, age=120, lasts=120 + left)

    decision = decide(reading(shoe(held=1), known=[known]), [confirm(1)])

    assert isinstance(decision.answers[0], answer)


def test_whoever_meets_a_due_hold_buries_it():
    decision = decide(reading(shoe(held=1), known=[hold(1, age=200)]), [confirm(1)])

    assert [hold(1, age=200)._replace(state=EXPIRED, ended_at=NOON)] == decision.changed
    assert [movement.kind for movement in decision.movements] == [MovementKind.EXPIRE]


def test_a_sweep_counts_the_holds_that_had_run_out_and_no_releases():
    dead = [hold(1, age=200), hold(2, age=300)]

    decision = decide(reading(shoe(held=3), known=[hold(3)], due=dead), [release(3), Sweep()])

    assert Swept(2) == decision.answers[1]


def test_cancelling_releases_open_holds_but_what_had_run_out_has_expired():
    open_hold, dead = hold(1), hold(2, age=200)
    state = reading(shoe(held=2), due=[dead, open_hold], cancelled_at=NOON - seconds(5))

    decision = decide(state, [Sweep()])

    assert [reservation.state for reservation in decision.changed] == [EXPIRED, RELEASED]
    assert [shoe(held=0, version=9)] == decision.items


def test_a_cancelled_sale_confirms_nothing():
    state = reading(shoe(held=1), known=[hold(1), ended(2, EXPIRED)], cancelled_at=NOON - seconds(5))

    held, late = decide(state, [confirm(1), confirm(2, allow_late=True)]).answers

    assert isinstance(held, ReservationReleased)
    assert isinstance(late, SaleClosed)


# Late confirmation


def test_a_late_confirmation_sells_what_is_still_there():
    decision = decide(reading(known=[ended(1, EXPIRED, 2)]), [confirm(1, "o-1", allow_late=True)])

    assert (decision.answers[0].reservation.state, decision.answers[0].reservation.order) == (CONFIRMED, "o-1")
    assert [shoe(3, held=0, sold=2, version=8)] == decision.items


def test_a_late_confirmation_takes_nothing_from_others():
    [refusal] = decide(reading(shoe(2, held=1), known=[ended(1, EXPIRED, 2)]), [confirm(1, allow_late=True)]).answers

    assert isinstance(refusal, InsufficientStock)


def test_a_late_confirmation_is_bound_by_the_limit_and_counts_for_it():
    known = [ended(1, EXPIRED), ended(2, EXPIRED)]
    state = reading(known=known, per_customer_limit=1, used={"ann": {}})

    first, second = decide(state, [confirm(1, allow_late=True), confirm(2, allow_late=True)]).answers

    assert isinstance(first, Done)
    assert isinstance(second, CustomerLimitReached)


def test_a_late_shortage_while_more_holds_are_due_proves_nothing():
    state = reading(shoe(1, held=1), known=[ended(1, EXPIRED)], more_due=True)

    assert decide(state, [confirm(1, allow_late=True)]).starved


# Extension


def test_extending_moves_the_end_and_no_stock():
    decision = decide(reading(shoe(held=1), known=[hold(1)]), [extend(1, NOON + seconds(300))])

    assert [hold(1)._replace(expires_at=NOON + seconds(300))] == decision.changed
    assert decision.movements == []
    assert not decision.is_empty


@pytest.mark.parametrize("later", [0, -60])
def test_extending_to_a_time_that_is_not_later_changes_nothing(later):
    known = hold(1)

    decision = decide(reading(shoe(held=1), known=[known]), [extend(1, known.expires_at + seconds(later))])

    assert [Done(known, replayed=True)] == decision.answers
    assert decision.is_empty


def test_the_ceiling_counts_from_the_creation():
    ceiling = NOON - seconds(10) + seconds(900)
    state = reading(shoe(held=1), known=[hold(1, age=10)])

    refusal, granted = decide(state, [extend(1, ceiling + seconds(1)), extend(1, ceiling)]).answers

    assert isinstance(refusal, ExtensionLimitReached)
    assert ceiling == refusal.latest_expires_at == granted.reservation.expires_at
