"""Creating reservations: what is granted, and the reasons of refusals."""

import pytest

from holdfast_inventory.domain.decide import Done, decide
from holdfast_inventory.domain.errors import (
    CustomerLimitReached,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    RequestIdReused,
    SaleClosed,
    SaleNotOpen,
    SalePaused,
    Shortage,
)
from holdfast_inventory.domain.movement import MovementKind
from holdfast_inventory.domain.reservation import Line, ReservationState
from tests.unit.domain.stage import NOON, SALE, create, ended, hold, reading, release, seconds, shoe


def test_with_five_left_three_three_one_two_one_are_answered_yes_no_yes_no_yes():
    decision = decide(reading(), [create(n, quantity) for n, quantity in enumerate((3, 3, 1, 2, 1))])

    assert [isinstance(answer, Done) for answer in decision.answers] == [True, False, True, False, True]
    assert [shoe(held=5, version=10)] == decision.items


def test_a_hold_says_what_until_when_and_nothing_else_is_written():
    decision = decide(reading(), [create(1, 2)])

    [answer] = decision.answers
    assert Done(hold(1, 2, age=0), replayed=False, executed_at=NOON) == answer
    assert [answer.reservation] == decision.created
    assert decision.changed == []
    assert decision.sequence == 8
    [movement] = decision.movements
    assert (
        movement.sequence,
        movement.kind,
        movement.item_id,
        movement.on_hand_delta,
        movement.held_delta,
        movement.sold_delta,
    ) == (8, MovementKind.HOLD, "shoe", 0, 2, 0)


def test_a_refusal_leaves_nothing_to_append():
    decision = decide(reading(), [create(1, 6)])

    assert decision.is_empty
    assert decision.sequence == 7


def test_all_lines_or_none():
    items = (shoe(), shoe(1, item_id="sock"))
    lines = (Line("shoe", 1), Line("sock", 2))

    [refusal] = decide(reading(*items), [create(1, lines=lines)]).answers

    assert isinstance(refusal, InsufficientStock)
    assert (Shortage("sock", 2, 1),) == refusal.shortages


def test_partial_takes_what_there_is_of_each_line():
    items = (shoe(2), shoe(0, item_id="sock"))
    lines = (Line("shoe", 3), Line("sock", 1))

    [answer] = decide(reading(*items), [create(1, lines=lines, allow_partial=True)]).answers

    assert (Line("shoe", 2),) == answer.reservation.lines


def test_partial_is_refused_when_there_is_nothing_at_all():
    [refusal] = decide(reading(shoe(2, held=2)), [create(1, allow_partial=True)]).answers

    assert isinstance(refusal, InsufficientStock)


def test_confirm_at_once_sells_without_a_hold():
    decision = decide(reading(), [create(1, 2, confirm=True, order="o-1")])

    [answer] = decision.answers
    assert (
        answer.reservation.state,
        answer.reservation.order,
        answer.reservation.ended_at,
    ) == (ReservationState.CONFIRMED, "o-1", NOON)
    assert [shoe(3, sold=2, version=8)] == decision.items


def test_a_hold_lasts_as_asked_up_to_the_sales_ceiling():
    longest, too_long = create(1, hold_time=seconds(900)), create(2, hold_time=seconds(901))

    granted, refusal = decide(reading(), [longest, too_long]).answers

    assert NOON + seconds(900) == granted.reservation.expires_at
    assert isinstance(refusal, InvalidRequest)
    assert str(refusal) == "hold_time: must be at most the sale's max_hold_time, 900 s"


def test_an_unknown_item_does_not_exist():
    [refusal] = decide(reading(), [create(1, lines=(Line("boot", 1),))]).answers

    assert isinstance(refusal, NotFound)
    assert refusal.resource == "sales/drop/items/boot"


@pytest.mark.parametrize(
    ("rules", "refusal"),
    [
        ({"open_at": NOON + seconds(30)}, SaleNotOpen),
        ({"close_at": NOON}, SaleClosed),
        ({"cancelled_at": NOON - seconds(1)}, SaleClosed),
        ({"paused": True}, SalePaused),
    ],
)
def test_a_sale_that_is_not_open_takes_no_holds(rules, refusal):
    [answer] = decide(reading(**rules), [create(1)]).answers

    assert isinstance(answer, refusal)


def test_a_sale_is_open_from_the_very_moment_it_opens_to_the_one_before_it_closes():
    at_opening = decide(reading(open_at=NOON, close_at=None), [create(1)])
    just_before_close = decide(reading(close_at=NOON + seconds(0.000001)), [create(1)])

    assert isinstance(at_opening.answers[0], Done)
    assert isinstance(just_before_close.answers[0], Done)


def test_too_early_says_when_to_come_back():
    [refusal] = decide(reading(open_at=NOON + seconds(30)), [create(1)]).answers

    assert (NOON + seconds(30), 30.0) == (refusal.open_at, refusal.retry_after_seconds)


# Request ids


def test_a_replay_answers_with_the_reservation_as_it_is_now():
    confirmed = ended(1, ReservationState.CONFIRMED, order="o-1")

    decision = decide(reading(known=[confirmed]), [create(1)])

    assert [Done(confirmed, replayed=True, executed_at=confirmed.created_at)] == decision.answers
    assert decision.is_empty


def test_duplicates_in_one_batch_make_one_reservation():
    first, second = decide(reading(), [create(1), create(1)]).answers

    assert (first.replayed, second.replayed) == (False, True)
    assert first.reservation == second.reservation


def test_another_meaning_under_the_same_id_is_refused():
    [refusal] = decide(reading(known=[hold(1, quantity=1)]), [create(1, quantity=2)]).answers

    assert isinstance(refusal, RequestIdReused)


def test_a_refused_request_binds_nothing_and_may_succeed_later():
    refused, _, granted = decide(reading(shoe(1, held=1), known=[hold(9)]), [create(1), release(9), create(1)]).answers

    assert isinstance(refused, InsufficientStock)
    assert Done(hold(1, age=0), replayed=False, executed_at=NOON) == granted


def test_a_replay_is_answered_even_when_the_sale_is_over():
    [answer] = decide(reading(known=[hold(1)], close_at=NOON), [create(1)]).answers

    assert Done(hold(1), replayed=True, executed_at=hold(1).created_at) == answer


def test_a_replay_of_a_due_hold_says_that_it_has_expired():
    dead = hold(1, age=200)

    decision = decide(reading(shoe(held=1), known=[dead]), [create(1)])

    buried = dead._replace(state=ReservationState.EXPIRED, ended_at=NOON)
    assert [Done(buried, replayed=True, executed_at=buried.created_at)] == decision.answers
    assert [buried] == decision.changed


# Limits


def test_the_sales_limit_counts_all_items_holds_and_purchases():
    items = (shoe(), shoe(item_id="sock"))
    state = reading(*items, per_customer_limit=4, used={"ann": {"shoe": 2, "sock": 1}})

    first, refusal = decide(state, [create(1), create(2)]).answers

    assert isinstance(first, Done)
    assert isinstance(refusal, CustomerLimitReached)
    assert (refusal.limit, refusal.used, refusal.item_id) == (4, 4, None)


def test_an_items_limit_holds_for_that_item_alone():
    items = (shoe(limit=1), shoe(item_id="sock"))

    shoes, socks = decide(reading(*items), [create(1, 2), create(2, lines=(Line("sock", 2),))]).answers

    assert isinstance(shoes, CustomerLimitReached)
    assert (shoes.limit, shoes.used, shoes.item_id) == (1, 0, "shoe")
    assert isinstance(socks, Done)


def test_each_customer_has_a_limit_of_its_own():
    answers = decide(reading(per_customer_limit=1), [create(1), create(2, customer="bob")]).answers

    assert all(isinstance(answer, Done) for answer in answers)


def test_what_is_released_no_longer_counts():
    state = reading(shoe(held=1), known=[hold(1)], per_customer_limit=1, used={"ann": {"shoe": 1}})

    before, _, after = decide(state, [create(2), release(1), create(2)]).answers

    assert isinstance(before, CustomerLimitReached)
    assert isinstance(after, Done)


def test_the_limit_is_reported_before_the_shortage_for_it_is_final():
    [refusal] = decide(reading(shoe(0), per_customer_limit=1), [create(1, 2)]).answers

    assert isinstance(refusal, CustomerLimitReached)


# Due holds


def test_a_due_hold_never_causes_a_refusal():
    dead = hold(1, 5, age=120, lasts=120)

    decision = decide(reading(shoe(held=5), due=[dead]), [create(2, 5)])

    assert [Done(hold(2, 5, age=0), replayed=False, executed_at=NOON)] == decision.answers
    assert [movement.kind for movement in decision.movements] == [MovementKind.EXPIRE, MovementKind.HOLD]


@pytest.mark.parametrize("allow_partial", [False, True])
def test_a_shortage_while_more_holds_are_due_than_were_read_proves_nothing(allow_partial):
    decision = decide(reading(shoe(held=4), more_due=True), [create(1, 2, allow_partial=allow_partial)])

    assert decision.starved


def test_plenty_is_granted_however_many_holds_are_due():
    assert not decide(reading(more_due=True), [create(1, 2)]).starved


@pytest.mark.parametrize(
    ("item", "asked", "partly", "expected"),
    [
        (shoe(5, held=5), 5, False, 30.0),
        (shoe(5, held=5), 6, False, None),
        (shoe(5, held=1), 5, False, 30.0),
        (shoe(0, sold=5), 1, False, None),
        (shoe(5, held=5), 6, True, 30.0),
        (shoe(0, sold=5), 1, True, None),
    ],
)
def test_a_shortage_can_pass_only_while_open_holds_keep_what_is_missing(item, asked, partly, expected):
    state = reading(item, holds_end_at={"shoe": NOON + seconds(30)})
    [refusal] = decide(state, [create(1, asked, allow_partial=partly)]).answers
    assert refusal.retry_after_seconds == expected


def test_every_short_line_must_be_able_to_come_back():
    items = (shoe(5, held=5), shoe(0, sold=5, item_id="sock"))
    lines = (Line("shoe", 1), Line("sock", 1))
    [refusal] = decide(reading(*items), [create(1, lines=lines)]).answers
    assert refusal.retry_after_seconds is None


def test_a_hold_that_ends_at_once_is_asked_for_after_a_second():
    state = reading(shoe(5, held=5), holds_end_at={"shoe": NOON + seconds(0.1)})
    [refusal] = decide(state, [create(1, 1)]).answers
    assert refusal.retry_after_seconds == 1.0


@pytest.mark.parametrize(("partly", "expected"), [(False, 40.0), (True, 20.0)])
def test_all_lines_must_come_back_or_one_of_them_to_who_takes_what_there_is(partly, expected):
    items = (shoe(1, held=1), shoe(1, held=1, item_id="sock"))
    state = reading(*items, holds_end_at={"shoe": NOON + seconds(40), "sock": NOON + seconds(20)})
    lines = (Line("shoe", 1), Line("sock", 1))
    [refusal] = decide(state, [create(1, lines=lines, allow_partial=partly)]).answers
    assert refusal.retry_after_seconds == expected


def test_a_line_that_is_not_short_is_not_waited_for():
    items = (shoe(5, held=5), shoe(5, held=1, item_id="sock"))
    state = reading(*items, holds_end_at={"shoe": NOON + seconds(40), "sock": NOON + seconds(60)})
    [refusal] = decide(state, [create(1, lines=(Line("shoe", 1), Line("sock", 1)))]).answers
    assert refusal.retry_after_seconds == 40.0


@pytest.mark.parametrize(("held", "expected"), [(0, 10.0), (1, 10.0), (2, 5.0)])
def test_a_hold_of_the_same_batch_may_be_the_first_to_end(held, expected):
    ends = {0: {}, 1: {"shoe": NOON + seconds(30)}, 2: {"shoe": NOON + seconds(5)}}[held]
    state = reading(shoe(5 + held, held=held), holds_end_at=ends)
    [_, refusal] = decide(state, [create(1, 5, hold_time=seconds(10)), create(2, 1)]).answers
    assert refusal.retry_after_seconds == expected


def test_ends_are_remembered_only_where_those_of_all_holds_are_known():
    items = (shoe(5), shoe(5, held=1, item_id="sock"))
    decision = decide(reading(*items), [create(1, lines=(Line("shoe", 1), Line("sock", 1)))])
    assert decision.holds_end_at == {"shoe": NOON + SALE.hold_time}
