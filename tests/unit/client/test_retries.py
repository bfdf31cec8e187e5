"""Which failures the Python client repeats, when, and for how long."""

import grpc
import pytest

from holdfast_chassis.contract import METHODS, REASONS
from holdfast_client import Policy, Refusal, Unanswered
from holdfast_client.retries import Attempts, Resumption, RetryBudget
from holdfast_client.statuses import _CODES

BY_NAME = {method.name: method for method in METHODS}
CODE = grpc.StatusCode
SENT_BEFORE = (("holdfast-previous-attempts", "1"),)


class Clock:
    def __init__(self):
        self.seconds = 50.0

    def monotonic(self):
        return self.seconds


class Longest:
    def uniform(self, low, high):
        return high


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def attempts(clock):
    """Begin a call, by the name of its method."""
    return lambda name="CreateReservation", budget=None, **policy: Attempts(
        BY_NAME[name], Policy(**policy), budget or RetryBudget(), clock, Longest()
    )


def refusal(reason, retry_after_seconds=None, retryable=None):
    rules = REASONS[reason]
    retryable = rules.retryable if retryable is None else retryable
    return Refusal(reason, "", _CODES[rules.code], retryable=retryable, retry_after_seconds=retry_after_seconds)


@pytest.mark.parametrize("reason", REASONS)
def test_a_call_is_repeated_if_holdfast_could_not_decide(attempts, reason):
    """The contract says so by a reason's code: a decision is for the caller, even if it may be another one later."""
    undecided = {CODE.RESOURCE_EXHAUSTED, CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED}
    expected = REASONS[reason].retryable and _CODES[REASONS[reason].code] in undecided
    assert (attempts().delay_after(refusal(reason)) is not None) == expected


def test_the_contract_has_reasons_of_both_sorts(attempts):
    assert attempts().delay_after(refusal("OVERLOADED")) is not None
    assert attempts().delay_after(refusal("INSUFFICIENT_STOCK")) is None


def test_a_refusal_that_calls_itself_final_is_not_repeated(attempts):
    assert attempts().delay_after(refusal("OVERLOADED", retryable=False)) is None


@pytest.mark.parametrize(
    ("code", "repeated"),
    [(CODE.UNAVAILABLE, True), (CODE.CANCELLED, True), (CODE.UNIMPLEMENTED, False), (CODE.RESOURCE_EXHAUSTED, False)],
)
def test_a_lost_connection_is_repeated_and_a_status_of_grpc_that_would_come_again_is_not(attempts, code, repeated):
    assert (attempts().delay_after(Unanswered("", code)) is not None) == repeated


def test_a_method_that_is_not_repeatable_is_repeated_only_if_it_was_not_begun(attempts):
    assert not BY_NAME["CreateSale"].repeatable
    assert attempts("CreateSale").delay_after(refusal("OVERLOADED")) is not None
    for error in (refusal("OUTCOME_UNKNOWN"), refusal("DRAINING"), Unanswered("", CODE.UNAVAILABLE)):
        assert attempts("CreateSale").delay_after(error) is None


def test_delays_double_up_to_a_limit_and_are_as_long_as_the_refusal_asks(attempts):
    call = attempts(first_delay_seconds=0.1, most_delay_seconds=0.4)
    assert [call.delay_after(refusal("OVERLOADED")) for _ in range(4)] == [0.1, 0.2, 0.4, 0.4]
    assert call.delay_after(refusal("OVERLOADED", retry_after_seconds=3.0)) == 3.0


def test_a_delay_beyond_the_deadline_is_not_waited_for(attempts, clock):
    call = attempts(timeout_seconds=5.0)
    assert call.delay_after(refusal("OVERLOADED", retry_after_seconds=6.0)) is None
    clock.seconds += 4.95
    assert call.delay_after(refusal("OVERLOADED")) is None


def test_an_attempt_has_a_part_of_the_time_only_if_it_can_be_repeated(attempts, clock):
    call, only = attempts(timeout_seconds=6.0, attempt_seconds=4.0), attempts("CreateSale", timeout_seconds=6.0)
    assert (call.timeout_seconds, only.timeout_seconds) == (4.0, 6.0)
    clock.seconds += 5.0
    assert call.timeout_seconds == pytest.approx(1.0)
    clock.seconds += 5.0
    assert call.timeout_seconds == 0.0


def test_an_outage_uses_the_budget_up_and_successes_give_it_back(attempts):
    budget = RetryBudget(tokens=10.0, regained=0.5)
    repeated = []
    for _ in range(8):
        budget.note(refusal("DRAINING"))
        repeated.append(attempts(budget=budget).delay_after(refusal("DRAINING")) is not None)
    assert repeated == [True] * 4 + [False] * 4
    for answer in [None, refusal("INSUFFICIENT_STOCK")] * 4:
        budget.note(answer)
    assert attempts(budget=budget).delay_after(refusal("DRAINING")) is not None


@pytest.mark.parametrize("error", [Unanswered("", CODE.UNAVAILABLE), refusal("OUTCOME_UNKNOWN")])
def test_a_repetition_tells_the_server_that_an_earlier_attempt_may_have_been_applied(attempts, error):
    call = attempts()
    assert call.metadata == ()
    call.delay_after(error)
    call.delay_after(refusal("OVERLOADED"))
    assert call.metadata == SENT_BEFORE


def test_an_attempt_that_did_nothing_and_a_read_are_not_told(attempts):
    for call, error in ((attempts(), refusal("OVERLOADED")), (attempts("GetItem"), Unanswered("", CODE.UNAVAILABLE))):
        call.delay_after(error)
        assert call.metadata == ()


@pytest.fixture
def resumption(clock):
    return Resumption(Policy(first_delay_seconds=0.1, watch_patience_seconds=60.0), clock, Longest())


def test_a_watch_whose_lifetime_is_over_is_resumed_at_once(resumption):
    resumption.heard()
    assert resumption.delay_after(refusal("WATCH_EXPIRED", retry_after_seconds=0.0)) == 0.0


def test_a_watch_that_ends_again_and_again_without_an_event_waits_longer_each_time(resumption):
    resumption.heard()
    delays = [resumption.delay_after(refusal("WATCH_EXPIRED", retry_after_seconds=0.0)) for _ in range(3)]
    assert delays == [0.0, 0.1, 0.2]


def test_a_watch_is_resumed_after_a_lost_connection_until_its_patience_ends(resumption, clock):
    lost = Unanswered("", CODE.UNAVAILABLE)
    clock.seconds += 59.0
    assert resumption.delay_after(lost) == 0.1
    clock.seconds += 2.0
    with pytest.raises(Unanswered):
        resumption.delay_after(lost)
    resumption.heard()
    assert resumption.delay_after(lost) == 0.1


def test_a_watch_of_a_missing_sale_fails(resumption):
    with pytest.raises(Refusal):
        resumption.delay_after(refusal("NOT_FOUND"))
