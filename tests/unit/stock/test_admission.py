"""The ranks of commands, their flows, and the limits of the queue."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from holdfast_chassis.recent import RecentSet
from holdfast_inventory.domain.commands import Confirm, Extend, Release, Sweep
from holdfast_inventory.stock.admission import BatchTimer, Rank, flow_of, rank_of
from tests.support.shopping import adjust, hold

RESERVATION = uuid4()
CONFIRM = Confirm(RESERVATION, "o-1", False, "")
RELEASE = Release(RESERVATION, "")
EXTEND = Extend(RESERVATION, datetime(2026, 11, 27, tzinfo=UTC), "")
BOUND = hold("c-1", socks=1)._replace(bound=True)


@pytest.fixture
def grants():
    return RecentSet(10)


def test_what_ends_a_purchase_goes_before_what_begins_one(grants):
    grants.add(BOUND.reservation_id)
    commands = [CONFIRM, RELEASE, EXTEND, adjust("socks", 1), BOUND, hold(socks=1)]
    assert [rank_of(command, grants) for command in commands] == list(Rank)


def test_a_sweep_gives_units_back(grants):
    assert rank_of(Sweep(), grants) is Rank.RELEASE


def test_a_create_is_a_replay_when_it_was_granted_here(grants):
    assert rank_of(BOUND, grants) is Rank.CREATE
    grants.add(BOUND.reservation_id)
    assert rank_of(BOUND, grants) is Rank.REPLAY


def test_a_random_id_is_never_a_replay(grants):
    unbound = hold(socks=1)
    grants.add(unbound.reservation_id)
    assert rank_of(unbound, grants) is Rank.CREATE


def test_a_customers_commands_share_their_turns():
    named = [hold("c-1", socks=1), *(command._replace(customer="c-1") for command in (CONFIRM, RELEASE, EXTEND))]
    assert {flow_of(command) for command in named} == {"c-1"}


def test_without_a_customer_those_of_a_reservation_do():
    assert {flow_of(command) for command in (CONFIRM, RELEASE, EXTEND)} == {RESERVATION}


def test_at_first_any_number_may_wait():
    assert BatchTimer(10, began=0.0).room(1.0, now=0.5) > 1_000_000


def test_as_many_may_wait_as_are_served_within_the_time():
    timer = BatchTimer(10, began=0.0)
    timer.batch_ended(0.3)
    # The batch in flight, then three that each take 0.3 s, of which the last begins after 0.9 s.
    assert timer.room(1.0, now=0.3) == 30
    assert [timer.wait_seconds(ahead, now=0.3) <= 1.0 for ahead in (29, 30)] == [True, False]


def test_one_may_wait_however_slow_the_last_batch_was():
    timer = BatchTimer(10, began=0.0)
    timer.batch_ended(5.0)
    assert timer.room(1.0, now=5.0) == 1


def test_a_batch_that_does_not_come_back_counts_as_slow():
    timer = BatchTimer(10, began=0.0)
    timer.batch_ended(0.1)
    assert timer.room(1.0, now=1.2) == 1
    assert timer.wait_seconds(0, now=1.2) == pytest.approx(1.1)


def test_one_slow_batch_does_not_make_the_next_a_slow_one():
    timer = BatchTimer(10, began=0.0)
    timer.batch_ended(5.0)
    timer.batch_ended(5.1)
    assert timer.likely_seconds == pytest.approx(0.1)
