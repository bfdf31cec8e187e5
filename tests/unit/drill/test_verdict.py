"""The verdict on a scenario of the drill: allowed and forbidden outcomes."""

import pytest

from lab.drill.request_ledger import Entry, Outcome
from lab.drill.verdict import Row, judge


class Book:
    began_at = 0.0

    def __init__(self, *entries):
        self.entries = entries


def entry(number, outcome=Outcome.ANSWERED, reason="", client="rest-edge-0"):
    return Entry(f"{client}-{number}", client, "buy", "", number / 100, number / 100 + 0.05, 1, outcome, reason)


def faults(*others, name="gateways", requests=200):
    row = Row(name, "a scenario", began_at=0.0, ended_at=60.0)
    judge(row, [row], Book(*map(entry, range(requests)), *others), replicas=[])
    return row.faults


def test_requests_that_are_answered_are_no_fault():
    assert faults() == []


@pytest.mark.parametrize("reason", ["OVERLOADED", "DEADLINE_IN_QUEUE"])
def test_one_of_a_hundred_may_be_told_to_come_back(reason):
    busy = [entry(number, Outcome.REFUSED, reason) for number in range(200, 203)]
    assert faults(*busy[:2]) == []
    assert faults(*busy) == [f"3 refused: rest-edge: {reason}"]


def test_no_request_may_fail_however_many_there_are():
    assert faults(entry(200, Outcome.FAILED, "connection reset")) == ["1 failed: rest-edge: connection reset"]


def test_no_request_may_be_refused_because_something_was_gone():
    gone = entry(200, Outcome.REFUSED, "INVENTORY_UNAVAILABLE")
    assert faults(gone) == ["1 refused: rest-edge: INVENTORY_UNAVAILABLE"]


def test_an_outage_of_the_database_refuses_and_drops_nothing():
    gone = entry(200, Outcome.REFUSED, "DATABASE_UNAVAILABLE")
    assert faults(gone, name="database-first") == []
    assert faults(entry(200, Outcome.FAILED, "503"), name="database-first") == ["1 failed: rest-edge: 503"]
