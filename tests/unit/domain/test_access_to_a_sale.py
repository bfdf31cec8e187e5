"""Who may confirm in a sale, and whom it admits."""

from datetime import UTC, datetime

import pytest

from holdfast_chassis.contract import METHODS
from holdfast_inventory.domain.commands import Admission
from holdfast_inventory.domain.decide import SHOP_SCOPE, Done, decide
from holdfast_inventory.domain.errors import (
    AdmissionRequired,
    PermissionDenied,
    RequestIdReused,
    SaleClosed,
    SaleNotOpen,
    SalePaused,
)
from holdfast_inventory.domain.reservation import ReservationState
from tests.unit.domain.stage import NOON, SALE, confirm, create, ended, hold, reading, seconds

SHOP_ALONE = {"shop_confirms": True}
BY_TOKEN = {"admission_required": True}


def by_buyer(command):
    return command._replace(by_buyer=True)


def told(command, *, known=(), **rules):
    [answer] = decide(reading(known=known, **rules), [command]).answers
    return answer


def test_the_scope_that_may_confirm_is_the_contracts():
    [method] = [method for method in METHODS if method.name == "ConfirmReservation"]
    assert SHOP_SCOPE in method.scopes


@pytest.mark.parametrize("command", [confirm(1), create(2, confirm=True)])
def test_where_the_shop_confirms_a_buyer_does_not(command):
    refusal = told(by_buyer(command), known=[hold(1)], **SHOP_ALONE)
    assert isinstance(refusal, PermissionDenied)
    assert refusal.scope == SHOP_SCOPE


@pytest.mark.parametrize("command", [confirm(1), create(2, confirm=True), by_buyer(create(2))])
def test_where_the_shop_confirms_all_else_is_as_elsewhere(command):
    assert isinstance(told(command, known=[hold(1)], **SHOP_ALONE), Done)


@pytest.mark.parametrize("command", [confirm(1, "o-1"), create(1, confirm=True)])
def test_what_was_confirmed_before_the_shop_kept_that_to_itself_is_answered_again(command):
    sold = ended(1, ReservationState.CONFIRMED, order="o-1", fingerprint=create(1, confirm=True).fingerprint)
    assert told(by_buyer(command), known=[sold], **SHOP_ALONE)[:2] == (sold, True)


@pytest.mark.parametrize(
    ("admission", "detail"),
    [
        (Admission.NONE, "the admission token is missing"),
        (Admission.EXPIRED, "the admission token has expired"),
        (Admission.VALID, None),
        (Admission.EARLY, None),
    ],
)
def test_a_sale_that_requires_admission_takes_only_a_valid_token(admission, detail):
    answer = told(create(1)._replace(admission=admission), **BY_TOKEN)
    assert detail == (str(answer) if isinstance(answer, AdmissionRequired) else None)


def test_a_repetition_needs_no_token():
    assert told(create(1), known=[hold(1)], **BY_TOKEN) == Done(hold(1), replayed=True, executed_at=hold(1).created_at)


@pytest.mark.parametrize("rules", [{}, {"paused": True}, {"cancelled_at": NOON}, {"open_at": NOON + seconds(9)}])
def test_admission_comes_before_the_sales_state_and_after_a_reused_request_id(rules):
    assert isinstance(told(create(1, 9), **BY_TOKEN, **rules), AdmissionRequired)
    assert isinstance(told(create(1, 9), known=[hold(1)], **BY_TOKEN, **rules), RequestIdReused)
    both = SHOP_ALONE | BY_TOKEN
    assert isinstance(told(by_buyer(create(1, 9, confirm=True)), **both, **rules), PermissionDenied)


@pytest.mark.parametrize(
    ("before_opening", "rules", "refusal"),
    [
        (10, {}, None),
        (11, {}, SaleNotOpen),
        (10, {"paused": True}, SalePaused),
        (10, {"cancelled_at": NOON}, SaleClosed),
    ],
)
def test_early_access_opens_the_sale_earlier_and_changes_nothing_else(before_opening, rules, refusal):
    opens_at = NOON + seconds(before_opening)
    early = create(1)._replace(admission=Admission.EARLY)
    answer = told(early, open_at=opens_at, early_access=seconds(10), **rules)
    assert refusal is (None if isinstance(answer, Done) else type(answer))
    if isinstance(answer, SaleNotOpen):
        assert (answer.open_at, answer.retry_after_seconds) == (NOON + seconds(1), 1.0)


@pytest.mark.parametrize("admission", [Admission.NONE, Admission.EXPIRED, Admission.VALID])
def test_without_an_early_token_there_is_no_early_access(admission):
    command = create(1)._replace(admission=admission)
    answer = told(command, open_at=NOON + seconds(5), early_access=seconds(10))
    assert (answer.open_at, answer.retry_after_seconds) == (NOON + seconds(5), 5.0)


def test_a_sale_without_early_access_does_not_open_early_for_any_token():
    command = create(1)._replace(admission=Admission.EARLY)
    assert isinstance(told(command, open_at=NOON + seconds(1)), SaleNotOpen)


def test_early_access_reaches_no_further_back_than_time_does():
    first = datetime.min.replace(tzinfo=UTC)
    sale = reading(open_at=first + seconds(1), early_access=seconds(10)).sale
    assert sale.opens_at(early=True) == first
    assert SALE.opens_at(early=True) == SALE.open_at
