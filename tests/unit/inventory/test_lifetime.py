"""A watch ends before the transport would end it, with any settings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from holdfast_chassis.entropy import SYSTEM_ENTROPY
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.watches.lifetime import Lifetime, lifetime_within
from tests.property.effort import effort

seconds = st.floats(0.001, 100_000)


def inventory_settings(**chosen):
    return InventorySettings(database_url="postgresql://not-asked", **chosen)


@given(age=seconds, grace=seconds, heartbeat=seconds, write=seconds)
@effort()
def test_a_watch_that_begins_last_and_ends_latest_is_over_before_its_connection(age, grace, heartbeat, write):
    try:
        lifetime = lifetime_within(age, grace, heartbeat_seconds=heartbeat, write_seconds=write)
    except ValueError:
        assert min(age, grace * 0.9 - heartbeat - write) < 2 * heartbeat
        return
    assert lifetime.longest_seconds + heartbeat + write < grace
    assert lifetime.longest_seconds <= age
    assert heartbeat <= lifetime.shortest_seconds <= lifetime.longest_seconds


def test_by_default_a_watch_lasts_two_and_a_half_to_five_minutes():
    assert inventory_settings().watch_lifetime == Lifetime(150.0, 300.0)


@pytest.mark.parametrize(
    "chosen",
    [
        {"connection_age_seconds": 15},
        {"connection_age_grace_seconds": 60},
        {"watch_heartbeat_seconds": 160},
        {"watch_reader_seconds": 350},
    ],
)
def test_settings_that_leave_a_watch_no_room_are_refused(chosen):
    with pytest.raises(ValidationError, match="a watch must last at least two heartbeats"):
        inventory_settings(**chosen)


def test_watches_that_begin_together_end_apart():
    lifetime = Lifetime(10.0, 20.0)
    ends = sorted(lifetime.drawn(SYSTEM_ENTROPY) for _ in range(20_000))
    assert 10.0 <= ends[0] < ends[-1] <= 20.0
    # Of 20,000, 2,000 are expected in each tenth; one in a million draws is as far off as 220.
    assert all(1_780 < sum(low <= end < low + 1 for end in ends) < 2_220 for low in range(10, 20))
