from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.schedule import (
    Period,
    Remainder,
    changed,
    closes_at,
    lead,
    next_openings,
    occurrence,
    occurrence_id,
    opening_at_or_before,
    run_id,
    started,
    wanted_openings,
)
from tests.support.shopping import HOUR, hourly

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("minute", [0, 1, 30, 59])
def test_openings_are_on_the_hour_whatever_the_minute(minute):
    assert opening_at_or_before(hourly(), NOON + minute * MINUTE) == NOON


@pytest.mark.parametrize(
    ("minute", "ahead", "wanted"),
    [
        (0, 0, [0]),
        (29, 0, [0]),
        (30, 0, []),
        (30, 30, [60]),
        (45, 14, []),
        (45, 15, [60]),
        (10, 60, [0, 60]),
    ],
)
def test_the_present_window_and_the_near_next_one_are_wanted(minute, ahead, wanted):
    schedule = hourly(open_duration=HOUR / 2)

    openings = wanted_openings(schedule, NOON + minute * MINUTE, ahead * MINUTE)

    assert openings == [NOON + offset * MINUTE for offset in wanted]


def test_an_occurrence_is_an_ordinary_sale_that_knows_its_schedule():
    schedule = hourly("drop", open_duration=HOUR / 2, socks=3)

    sale = occurrence(schedule, NOON)

    assert sale.sale_id == "drop-20260701t120000z" == occurrence_id(schedule, NOON)
    assert (sale.open_at, sale.close_at, sale.schedule_id) == (NOON, NOON + HOUR / 2, "drop")
    assert sale.items == schedule.items


FRIDAY_TEN = datetime(2026, 10, 23, 8, tzinfo=UTC)
"""Ten o'clock in Berlin, on the last Friday of summer time."""
WEEK = timedelta(days=7)


def fridays(now=FRIDAY_TEN - WEEK, **changes):
    """Every Friday at ten in Berlin for two hours, by a schedule that was created at `now`."""
    rules = {"recurrence": Calendar("0 10 * * FRI", "Europe/Berlin"), "open_duration": 2 * HOUR}
    return started(replace(hourly("friday"), **rules | changes), now)


def wanted(schedule, now):
    return wanted_openings(schedule, now, lead(schedule))


def test_a_calendar_opens_nothing_before_its_time_not_even_what_would_be_open():
    assert wanted(fridays(FRIDAY_TEN + MINUTE), FRIDAY_TEN + MINUTE) == []


def test_a_start_in_the_past_asks_for_what_would_be_open():
    schedule = fridays(start_at=FRIDAY_TEN)
    assert wanted(schedule, FRIDAY_TEN + MINUTE) == [FRIDAY_TEN]
    assert wanted(replace(schedule, start_at=FRIDAY_TEN + MINUTE), FRIDAY_TEN + MINUTE) == []


def test_a_period_starts_at_once_or_at_its_start():
    schedule = started(hourly(), NOON)
    assert wanted(schedule, NOON + MINUTE) == [NOON, NOON + HOUR]
    assert wanted(replace(schedule, start_at=NOON + MINUTE), NOON + MINUTE) == [NOON + HOUR]


def test_over_the_change_to_winter_time_each_friday_at_ten_has_its_sale():
    assert next_openings(fridays(), FRIDAY_TEN - HOUR, 3) == [
        FRIDAY_TEN,
        FRIDAY_TEN + WEEK + HOUR,
        FRIDAY_TEN + 2 * WEEK + HOUR,
    ]


def test_a_change_of_the_times_opens_nothing_that_was_due_before():
    later = changed(started(hourly(), NOON), {"offset": 30 * MINUTE}, NOON + 10 * MINUTE)
    assert wanted(later, NOON + 10 * MINUTE) == [NOON + 30 * MINUTE]
    weekly = changed(hourly(), {"recurrence": fridays().recurrence}, FRIDAY_TEN + MINUTE)
    assert (weekly.start_at, wanted(weekly, FRIDAY_TEN + MINUTE)) == (FRIDAY_TEN + MINUTE, [])


def test_a_start_that_is_later_or_changed_as_well_stays():
    fixed = replace(hourly(), start_at=NOON + HOUR)
    assert changed(fixed, {"offset": MINUTE}, NOON).start_at == NOON + HOUR
    assert changed(fixed, {"offset": MINUTE, "start_at": NOON - HOUR}, NOON).start_at == NOON - HOUR
    assert changed(fixed, {"open_duration": MINUTE}, NOON + 2 * HOUR).start_at == NOON + HOUR


def test_an_end_leaves_out_what_opens_then_or_later():
    schedule = fridays(end_at=FRIDAY_TEN + WEEK + HOUR)
    assert next_openings(schedule, FRIDAY_TEN - HOUR, 5) == [FRIDAY_TEN]
    assert wanted(schedule, FRIDAY_TEN + WEEK + HOUR) == []


def test_a_paused_schedule_wants_nothing():
    schedule = fridays(paused=True)
    assert (wanted(schedule, FRIDAY_TEN), next_openings(schedule, FRIDAY_TEN, 5)) == ([], [])


def test_an_offset_moves_each_opening():
    half_past = replace(hourly(), offset=30 * MINUTE)
    assert opening_at_or_before(half_past, NOON) == NOON - 30 * MINUTE
    assert next_openings(half_past, NOON, 2) == [NOON + 30 * MINUTE, NOON + 90 * MINUTE]
    assert next_openings(fridays(offset=MINUTE), FRIDAY_TEN, 1) == [FRIDAY_TEN + MINUTE]


@pytest.mark.parametrize(
    ("open_duration", "closes"), [(2 * HOUR, 2 * HOUR), (None, WEEK + HOUR), (2 * WEEK, WEEK + HOUR)]
)
def test_a_sale_closes_when_the_next_one_opens_at_the_latest(open_duration, closes):
    schedule = fridays(open_duration=open_duration)
    assert occurrence(schedule, FRIDAY_TEN).close_at == FRIDAY_TEN + closes
    assert closes_at(schedule, FRIDAY_TEN + 6 * WEEK / 7) == min(
        FRIDAY_TEN + 6 * WEEK / 7 + (open_duration or WEEK * 9), FRIDAY_TEN + WEEK + HOUR
    )


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (hourly(), HOUR),
        (hourly(remainder=Remainder.RETURN), MINUTE),
        (fridays(), 10 * MINUTE),
        (fridays(early_access=HOUR), 70 * MINUTE),
        (fridays(remainder=Remainder.RETURN), MINUTE),
        (fridays(remainder=Remainder.RETURN, early_access=HOUR), 61 * MINUTE),
        (fridays(lead_time=WEEK), WEEK),
    ],
)
def test_a_sale_is_created_ahead_of_its_opening_and_of_its_early_access(schedule, expected):
    assert lead(schedule) == expected


def test_a_run_has_an_id_of_its_request_that_is_no_time():
    schedule = fridays()
    assert run_id(schedule, b"a") == run_id(schedule, b"a") != run_id(schedule, b"b")
    assert len(run_id(schedule, b"a")) == len(occurrence_id(schedule, FRIDAY_TEN))


@settings(deadline=None, max_examples=100)
@given(
    recurrence=st.builds(
        Calendar,
        st.sampled_from(["0 10 * * FRI", "*/30 * * * *", "30 2 * * *", "0 1-3 * * *", "15,45 2,3 * * SUN"]),
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/St_Johns", "UTC"]),
    )
    | st.builds(Period, st.sampled_from([10 * MINUTE, HOUR, 25 * HOUR])),
    change=st.sampled_from(["2026-03-29T01:00Z", "2026-10-25T01:00Z", "2026-03-08T07:00Z", "2026-04-04T15:00Z"]),
    rounds=st.lists(st.integers(1, 300), min_size=3, max_size=12),
    open_duration=st.sampled_from([None, 5 * MINUTE, HOUR]),
    returns=st.booleans(),
)
def test_schedulers_that_look_at_any_times_want_each_opening_once(recurrence, change, rounds, open_duration, returns):
    """Every opening that is within its window at a round is wanted then, and nothing else ever is."""
    remainder = Remainder.RETURN if returns else Remainder.STAY
    begin = datetime.fromisoformat(change) - 12 * HOUR
    schedule = replace(
        hourly(remainder=remainder), recurrence=recurrence, open_duration=open_duration, start_at=begin, lead_time=None
    )
    openings = next_openings(schedule, begin - MINUTE, 400)
    assert openings == sorted(set(openings))
    now = begin
    for minutes in rounds:
        now += minutes * MINUTE
        ahead = next((each for each in openings if each > now), None)
        current = [each for each in openings if each <= now < closes_at(schedule, each)]
        near = [ahead] if ahead is not None and ahead - now <= lead(schedule) else []
        assert wanted(schedule, now) == current + near
        assert len(current) <= 1
