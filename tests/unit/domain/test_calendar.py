"""Openings by a calendar: examples around changes of clocks, and a comparison with a naive model."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast_inventory.domain.calendar import Calendar, _zone_names, broken_cron, is_time_zone, zone

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
BERLIN = "Europe/Berlin"


def at(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def openings(calendar, after):
    while after is not None:
        after = calendar.next_after(after)
        if after is not None:
            yield after


def first(calendar, after, count):
    return list(islice(openings(calendar, at(after)), count))


def test_every_friday_at_ten_in_berlin_is_at_eight_utc_in_summer_and_at_nine_in_winter():
    fridays = Calendar("0 10 * * FRI", BERLIN)
    assert first(fridays, "2026-10-20T00:00Z", 3) == [
        at("2026-10-23T08:00Z"),
        at("2026-10-30T09:00Z"),
        at("2026-11-06T09:00Z"),
    ]


def test_a_time_that_clocks_skip_is_taken_with_the_offset_before_the_change():
    assert first(Calendar("30 2 * * *", BERLIN), "2026-03-28T00:00Z", 3) == [
        at("2026-03-28T01:30Z"),
        at("2026-03-29T01:30Z"),  # 03:30 in Berlin.
        at("2026-03-30T00:30Z"),
    ]


def test_of_a_time_that_clocks_show_twice_the_first_counts():
    assert first(Calendar("30 2 * * *", BERLIN), "2026-10-24T12:00Z", 2) == [
        at("2026-10-25T00:30Z"),
        at("2026-10-26T01:30Z"),
    ]


def test_two_times_that_become_the_same_instant_are_one_opening():
    assert first(Calendar("0 2,3 * * *", BERLIN), "2026-03-29T00:00Z", 2) == [
        at("2026-03-29T01:00Z"),
        at("2026-03-30T00:00Z"),
    ]


def test_skipped_times_that_come_out_after_later_times_are_in_order():
    calendar = Calendar("45 2 * * *", BERLIN), Calendar("0 3 * * *", BERLIN)
    both = Calendar("0,45 2,3 29 3 *", BERLIN)
    assert [each.next_after(at("2026-03-29T00:00Z")) for each in calendar] == [
        at("2026-03-29T01:45Z"),
        at("2026-03-29T01:00Z"),
    ]
    assert first(both, "2026-03-29T00:00Z", 2) == [at("2026-03-29T01:00Z"), at("2026-03-29T01:45Z")]


def test_a_day_that_a_country_skips_falls_together_with_the_next():
    assert first(Calendar("0 10 * * *", "Pacific/Apia"), "2011-12-29T12:00Z", 3) == [
        at("2011-12-29T20:00Z"),
        at("2011-12-30T20:00Z"),  # The 30th did not take place there.
        at("2011-12-31T20:00Z"),
    ]


def test_excluded_dates_are_dates_of_the_local_calendar():
    new_year = Calendar("30 0 * * *", BERLIN, excluded_dates=(date(2027, 1, 1),))
    assert first(new_year, "2026-12-30T12:00Z", 2) == [at("2026-12-30T23:30Z"), at("2027-01-01T23:30Z")]


@pytest.mark.parametrize(
    "expression", ["0 10 31 2 *", "61 * * * *", "0 10 * * FRY", "* * * *", "0 0 10 * * *", "", "¹ * * * *"]
)
def test_what_is_wrong_with_a_cron_expression_is_said(expression):
    assert broken_cron(expression) is not None


@pytest.mark.parametrize(
    "expression", ["0 10 * * FRI", "*/15 9-17 * * mon-fri", "0 12 L * *", "0 10 * * 5L", "0 10 * * FRI#2"]
)
def test_cron_expressions_of_every_kind_are_understood(expression):
    assert broken_cron(expression) is None
    assert Calendar(expression, BERLIN).next_after(at("2026-01-01T00:00Z")) is not None


@pytest.mark.parametrize("name", ["Berlin", "Europe/", "../zones", "europe/berlin", "", "Europe"])
def test_only_zones_of_the_database_are_zones(name):
    assert not is_time_zone(name)


def test_the_end_of_all_times_is_no_opening():
    daily = Calendar("0 10 * * *", BERLIN)
    assert daily.next_after(datetime.max.replace(tzinfo=UTC) - MINUTE) is None
    assert daily.latest_until(datetime.min.replace(tzinfo=UTC) + MINUTE) is None


class Cron(NamedTuple):
    """A cron expression whose fields are sets of numbers, for the model; None: any."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    weekdays: frozenset[int] | None

    def __str__(self):
        days, weekdays = map(as_field, (self.days, self.weekdays))
        return f"{as_field(self.minutes)} {as_field(self.hours)} {days} * {weekdays}"

    def matches(self, local):
        on_day = self.days is None or local.day in self.days
        on_weekday = self.weekdays is None or local.isoweekday() in self.weekdays
        either = self.days is not None and self.weekdays is not None
        is_day = (on_day or on_weekday) if either else (on_day and on_weekday)
        return is_day and local.hour in self.hours and local.minute in self.minutes


def as_field(numbers):
    return "*" if numbers is None else ",".join(map(str, sorted(numbers)))


def model(cron, time_zone, excluded, begin, end):
    """The openings from `begin` until `end`: each local time that matches, found by looking at a clock every minute."""
    shown = {}  # When a clock there shows a time for the first time.
    skipped = []
    moment = begin - 2 * DAY
    while moment < end + 2 * DAY:
        local = moment.astimezone(time_zone)
        shown.setdefault(local.replace(tzinfo=None), moment)
        before = (moment - MINUTE).astimezone(time_zone)
        jump = local.utcoffset() - before.utcoffset()
        missing = range(int(jump / MINUTE))
        skipped += [(local.replace(tzinfo=None) - jump + minute * MINUTE, before.utcoffset()) for minute in missing]
        moment += MINUTE
    instants = [*shown.items(), *((local, (local - offset).replace(tzinfo=UTC)) for local, offset in skipped)]
    return sorted(
        {
            instant
            for local, instant in instants
            if cron.matches(local) and local.date() not in excluded and begin <= instant < end
        }
    )


@cache
def changes_of_clocks(name, year):
    """The days of a year before which clocks were changed."""
    there = zone(name)
    days = [datetime(year, 1, 1, tzinfo=UTC) + n * DAY for n in range(365)]
    offsets = [day.astimezone(there).utcoffset() for day in days]
    return [day for day, today, tomorrow in zip(days, offsets, offsets[1:], strict=False) if today != tomorrow]


crons = st.builds(
    Cron,
    st.frozensets(st.integers(0, 59), min_size=1, max_size=4) | st.just(frozenset(range(0, 60, 15))),
    st.frozensets(st.integers(0, 23), min_size=1, max_size=4)
    | st.just(frozenset({1, 2, 3}))
    | st.just(frozenset(range(24))),
    st.none() | st.frozensets(st.integers(1, 31), min_size=1, max_size=8),
    st.none() | st.frozensets(st.integers(1, 7), min_size=1, max_size=4),
)
zones = st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Santiago"]) | st.sampled_from(
    sorted(_zone_names())
)


@st.composite
def moments(draw, name):
    """A time, mostly within two days of a change of clocks."""
    year = draw(st.integers(1973, 2037))
    changed = changes_of_clocks(name, year)
    day = draw(st.sampled_from(changed)) if changed else datetime(year, draw(st.integers(1, 12)), 15, tzinfo=UTC)
    return day + draw(st.integers(-36, 36)) * timedelta(hours=1) + draw(st.integers(0, 59 * 60)) * timedelta(seconds=1)


@settings(deadline=None, max_examples=150)
@given(data=st.data(), name=zones, cron=crons)
def test_openings_are_those_of_a_clock_that_is_looked_at_every_minute(data, name, cron):
    moment = data.draw(moments(name))
    excluded = data.draw(st.sampled_from([(), (moment.date(),)]))
    begin, end = (moment - DAY).replace(second=0, microsecond=0), (moment + DAY).replace(second=0, microsecond=0)
    expected = model(cron, zone(name), excluded, begin, end)
    calendar = Calendar(str(cron), name, excluded)

    found = []
    opening = calendar.next_after(begin - timedelta(seconds=1))
    while opening is not None and opening < end:
        found.append(opening)
        opening = calendar.next_after(opening)
    assert found == expected

    backwards = []
    opening = calendar.latest_until(end - timedelta(seconds=1))
    while opening is not None and opening >= begin:
        backwards.append(opening)
        opening = calendar.latest_until(opening - timedelta(seconds=1))
    assert backwards[::-1] == expected

    assert calendar.next_after(moment) == next(
        (each for each in expected if each > moment), calendar.next_after(moment)
    )
    assert calendar.latest_until(moment) == max(
        (each for each in expected if each <= moment), default=calendar.latest_until(moment)
    )


cron_texts = st.lists(st.text("0123456789*/,-#LWFRIMONsun", min_size=1, max_size=6), min_size=5, max_size=5).map(
    " ".join
)


@settings(deadline=None, max_examples=500)
@given(expression=cron_texts)
@example("0 0 L/2 * 5L")
@example("0 0 */30 2 1#5/2")
def test_any_text_is_an_expression_or_is_refused(expression):
    if broken_cron(expression) is None:
        Calendar(expression, BERLIN).next_after(at("2026-01-01T00:00Z"))
