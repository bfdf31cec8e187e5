"""The load test fails for each broken promise and threshold, and for nothing else."""

from dataclasses import replace

import pytest

from lab.load_test.shoppers import MIXES, behaviours
from lab.load_test.tally import Acknowledged, Latencies, Tally
from lab.load_test.verdict import Shelf, Thresholds, faults

SHELF = Shelf(units=3, per_customer_limit=2, held=1, sold=2, states={"r1": "CONFIRMED", "r2": "HELD"}, consistent=True)
SOLD = Acknowledged("r1", "c-1", 2, "CONFIRMED")
HELD = Acknowledged("r2", "c-2", 1, "HELD")


def tally(*notes):
    made = Tally()
    for kind, outcome, status, seconds in (("create", "OK", 200, 0.1), *notes):
        made.note(kind, outcome, status, seconds)
    return made


def words(shelf=SHELF, told=(SOLD, HELD), counts=None, thresholds=None):
    """Return the first word of each fault."""
    found = faults(shelf, list(told), counts or tally(), thresholds or Thresholds())
    return [fault.split(":")[0] for fault in found]


def test_a_run_that_kept_everything_passes():
    assert words() == []


def test_more_acknowledged_units_than_there_were_is_an_oversell():
    third = Acknowledged("r3", "c-3", 1, "CONFIRMED")
    states = {**SHELF.states, "r3": "CONFIRMED"}
    assert words(replace(SHELF, states=states), [SOLD, HELD, third]) == ["OVERSOLD"]


def test_more_sold_and_held_units_than_there_were_is_an_oversell():
    assert words(replace(SHELF, sold=3)) == ["OVERSOLD"]


@pytest.mark.parametrize("state", ["RELEASED", "HELD", "EXPIRED"])
def test_a_sale_that_is_not_as_acknowledged_is_lost(state):
    assert words(replace(SHELF, states={**SHELF.states, "r1": state})) == ["LOST"]


def test_a_reservation_that_is_missing_is_lost():
    assert words(replace(SHELF, states={"r1": "CONFIRMED"})) == ["LOST"]


def test_a_reservation_whose_end_is_unknown_may_be_anything():
    assert words(replace(SHELF, states={"r1": "CONFIRMED"}), [SOLD, replace(HELD, state=None)]) == []


def test_one_reservation_for_two_requests_is_noticed():
    assert words(told=[HELD, HELD]) == ["SHARED"]


def test_a_customer_over_the_limit_is_noticed():
    assert words(told=[replace(SOLD), replace(HELD, customer="c-1")]) == ["LIMIT"]


def test_a_ledger_that_does_not_add_up_is_noticed():
    assert words(replace(SHELF, consistent=False)) == ["LEDGER"]


def test_thresholds_are_of_the_99th_percentile_of_what_was_granted():
    slow = [("confirm", "OK", 200, 1.5)]
    assert words(counts=tally(*slow)) == ["SLOW"]
    assert words(counts=tally(*slow), thresholds=Thresholds(p99_seconds=2.0)) == []
    assert words(counts=tally(("confirm", "SALE_CLOSED", 409, 1.5))) == []


def test_thresholds_are_of_5xx_and_of_missing_answers():
    assert words(counts=tally(("create", "INTERNAL", 500, 0.1))) == ["ERRORS"]
    assert words(counts=tally(("create", "LOST", 0, 0.1))) == ["ERRORS"]
    assert words(counts=tally(("create", "OVERLOADED", 429, 0.1))) == []
    assert words(counts=tally(("create", "LOST", 0, 0.1)), thresholds=Thresholds(lost_answers=0.5)) == []


def test_a_run_in_which_nothing_was_made_proves_nothing():
    assert words(counts=Tally(), told=[]) == ["NOTHING"]


def test_percentiles_are_within_five_percent():
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add(number / 1000)
    assert latencies.percentile(0.5) == pytest.approx(0.5, rel=0.05)
    assert latencies.percentile(0.99) == pytest.approx(0.99, rel=0.05)
    assert Latencies().percentile(0.99) == 0.0


def test_a_crowd_has_its_mix_at_each_time_of_the_ramp():
    crowd = behaviours(MIXES["realistic"], 1000)
    for first in (10, 100, 1000):
        assert [crowd[:first].count(name) / first for name in MIXES["realistic"]] == [0.1, 0.6, 0.3]
