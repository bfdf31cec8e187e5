from holdfast_chassis.concurrency import SHARES, ConcurrencyLimit
from holdfast_chassis.contract import Kind


def entered(limit, kind):
    """Return how many more of a kind are let in."""
    count = 0
    while limit.enter(kind):
        count += 1
    return count


def test_looking_is_refused_first_and_finishing_last():
    limit = ConcurrencyLimit(10)
    assert [entered(limit, kind) for kind in (Kind.READ, Kind.BEGIN, Kind.FINISH)] == [5, 3, 2]


def test_what_finishes_needs_no_place_that_others_may_take():
    limit = ConcurrencyLimit(10)
    assert entered(limit, Kind.BEGIN) == 8
    assert [limit.enter(Kind.READ), limit.enter(Kind.FINISH)] == [False, True]


def test_a_place_that_was_left_can_be_taken():
    limit = ConcurrencyLimit(10)
    assert entered(limit, Kind.FINISH) == 10
    limit.leave()
    assert entered(limit, Kind.FINISH) == 1


def test_there_is_a_place_for_everything_however_few_there_are():
    assert all(ConcurrencyLimit(1).enter(kind) for kind in SHARES)
