"""The scheduler, in virtual time: started at any minute, with several replicas, and during outages."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast_inventory.background.schedules import Scheduler
from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.errors import DatabaseUnavailable, NotFound
from holdfast_inventory.domain.schedule import Period, Remainder, Schedule, occurrence_id, opening_at_or_before
from tests.support.virtual_time import BEGINNING_SECONDS, VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

MIDNIGHT = datetime(2026, 11, 27, tzinfo=UTC)
HOURLY = Schedule(
    schedule_id="hourly",
    recurrence=Period(timedelta(hours=1)),
    open_duration=timedelta(hours=1),
    per_customer_limit=0,
    hold_time=timedelta(minutes=2),
    max_hold_time=timedelta(minutes=15),
    items=(),
    source_sale_id=None,
    remainder=Remainder.STAY,
    created_at=MIDNIGHT,
)


def now():
    return MIDNIGHT + timedelta(seconds=asyncio.get_running_loop().time() - BEGINNING_SECONDS)


class Book:
    """Schedules and their sales, as a database would keep them for all replicas."""

    def __init__(self, *schedules, outages=()):
        self.schedules = list(schedules)
        self.sales = {}
        self.settled = []
        self.outages = outages
        self.broken = {}
        self.attempts = 0
        self.looks = []
        self.looked_back_to: Iterator[datetime | None] = iter(())

    async def database_now(self):
        await self._answer()
        return now()

    async def list_schedules(self, page_size, after):
        await self._answer()
        behind = [schedule for schedule in self.schedules if after is None or schedule.schedule_id > after]
        return behind[:2], behind[1].schedule_id if len(behind) > 2 else None

    async def create_occurrence(self, schedule, open_at):
        await self._answer()
        self.attempts += 1
        if schedule.schedule_id in self.broken:
            raise self.broken[schedule.schedule_id]
        sale_id = occurrence_id(schedule, open_at)
        if sale_id in self.sales:
            return False
        self.sales[sale_id] = now()
        return True

    async def occurrences_to_settle(self, schedule, before, stretch):
        await self._answer()
        if schedule.remainder is Remainder.STAY:
            return [], None
        self.looks.append(before)
        last = opening_at_or_before(schedule, now()) - schedule.recurrence.length
        sale_id = occurrence_id(schedule, last)
        due = [sale_id] if sale_id in self.sales and sale_id not in self.settled else []
        return due, next(self.looked_back_to, None)

    async def settle_remainder(self, schedule, sale_id):
        await self._answer()
        self.settled.append(sale_id)
        return True

    async def _answer(self):
        await asyncio.sleep(0.001)
        if any(begin <= now() < end for begin, end in self.outages):
            raise DatabaseUnavailable


async def run_replica(book, boot, end):
    await asyncio.sleep((boot - now()).total_seconds())
    scheduler = Scheduler(book, interval_seconds=30)
    await scheduler.start()
    await asyncio.sleep((end - now()).total_seconds())
    await scheduler.stop()


def simulate(book, *lives):
    async def live():
        await asyncio.gather(*(run_replica(book, boot, end) for boot, end in lives))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(live())
    return book


def at(minute):
    return MIDNIGHT + timedelta(minutes=minute)


def hourly(*hours):
    return {f"hourly-20261127t{hour:02}0000z" for hour in hours}


MINUTES = st.integers(0, 59)


@settings(deadline=None, max_examples=30)
@given(boots=st.tuples(MINUTES, MINUTES))
@example(boots=(0, 0))
@example(boots=(59, 0))
def test_whatever_the_boot_minutes_each_hour_has_one_sale_and_the_next_is_there_ahead(boots):
    book = simulate(Book(HOURLY), *((at(boot), at(185)) for boot in boots))
    assert set(book.sales) == hourly(0, 1, 2, 3, 4)
    first = at(min(boots))
    ahead = [created for sale_id, created in sorted(book.sales.items())[1:]]
    assert ahead[0] - first < timedelta(seconds=40)
    assert all(created - at(60 * hour) < timedelta(seconds=40) for hour, created in enumerate(ahead[1:], 1))


@settings(deadline=None, max_examples=30)
@given(begin=st.integers(1, 150), minutes=st.integers(1, 180), boots=st.tuples(MINUTES, MINUTES))
@example(begin=59, minutes=2, boots=(0, 0))
@example(begin=1, minutes=180, boots=(0, 0))
def test_after_an_outage_what_is_still_open_is_caught_up_and_what_has_passed_is_not(begin, minutes, boots):
    end = begin + minutes
    book = Book(HOURLY, outages=[(at(begin), at(end))])
    simulate(book, *((at(boot), at(400)) for boot in boots))

    attended = [(min(boots), begin), (max(end, min(boots)), 400)]
    for hour in range(7):
        # A sale is created from an hour before it opens until it closes.
        chances = [min(60 * hour + 60, until) - max(60 * hour - 60, since) for since, until in attended]
        is_there = hourly(hour) <= set(book.sales)
        if max(chances) >= 1:
            assert is_there, f"hour {hour} is missing"
        if max(chances) < 0:
            assert not is_there, f"hour {hour} had passed"


def test_a_replica_that_dies_over_the_hour_is_made_up_for_by_the_other():
    book = simulate(Book(HOURLY), (at(10), at(59)), (at(30), at(130)))
    assert set(book.sales) == hourly(0, 1, 2, 3)


def test_a_window_that_is_over_at_boot_is_left_out():
    short = replace(HOURLY, open_duration=timedelta(minutes=5))
    assert set(simulate(Book(short), (at(30), at(31))).sales) == hourly(1)
    assert set(simulate(Book(short), (at(4), at(5))).sales) == hourly(0, 1)


def test_a_sale_that_is_there_is_not_asked_for_again():
    book = simulate(Book(HOURLY), (at(0), at(59)))
    assert book.attempts == 2


def test_a_sale_fed_by_returns_is_put_up_shortly_before_it_opens():
    returning = replace(HOURLY, source_sale_id="main", remainder=Remainder.RETURN, open_duration=timedelta(minutes=30))
    book = simulate(Book(returning), (at(0), at(70)))
    assert set(book.sales) == hourly(0, 1)
    assert at(59) <= book.sales[hourly(1).pop()] < at(60)


def test_remainders_are_settled_once_their_sale_is_over():
    carrying = replace(HOURLY, remainder=Remainder.CARRY_OVER)
    book = simulate(Book(carrying), (at(0), at(130)))
    assert book.settled == sorted(hourly(0, 1))


def test_remainders_are_looked_for_further_back_from_round_to_round_and_then_anew():
    book = Book(replace(HOURLY, remainder=Remainder.CARRY_OVER))
    book.looked_back_to = iter([at(-60), at(-120), None])
    simulate(book, (at(1), at(6)))
    assert book.looks[:5] == [None, at(-60), at(-120), None, None]


def test_one_schedule_that_fails_does_not_keep_the_others_from_opening():
    schedules = [replace(HOURLY, schedule_id=name) for name in ("a", "b", "c", "d", "e")]
    book = Book(*schedules)
    book.broken["b"] = NotFound("sales/main")
    simulate(book, (at(0), at(1)))
    assert {sale_id[0] for sale_id in book.sales} == {"a", "c", "d", "e"}


async def test_a_new_schedule_is_attended_to_at_once_when_it_is_reported():
    book = Book()
    scheduler = Scheduler(book, interval_seconds=3600)
    await scheduler.start()
    await asyncio.sleep(1)
    book.schedules.append(HOURLY)
    scheduler.wake()
    await asyncio.sleep(1)
    await scheduler.stop()
    assert set(book.sales) == hourly(0, 1)


@pytest.mark.parametrize("remainder", Remainder)
def test_each_period_has_one_sale_whatever_becomes_of_the_remainder(remainder):
    book = simulate(Book(replace(HOURLY, remainder=remainder)), (at(0), at(150)), (at(90), at(150)))
    assert hourly(0, 1, 2) <= set(book.sales) <= hourly(0, 1, 2, 3)


BERLIN = replace(
    HOURLY,
    schedule_id="night",
    recurrence=Calendar("30 1-3 * * *", "Europe/Berlin"),
    open_duration=timedelta(minutes=20),
    start_at=MIDNIGHT - timedelta(days=40),
)


@settings(deadline=None, max_examples=10)
@given(boots=st.tuples(MINUTES, MINUTES), spring=st.booleans())
def test_over_a_change_of_clocks_two_replicas_open_each_time_once(boots, spring):
    """In autumn the second 02:30 has no sale; in spring 02:30 does not exist and is 03:30, which is there already."""
    night = datetime(2026, 3, 28, 23, tzinfo=UTC) if spring else datetime(2026, 10, 24, 22, tzinfo=UTC)
    book = Book(replace(BERLIN, start_at=night))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.MIDNIGHT", night)
        simulate(book, *((night + timedelta(minutes=boot), night + timedelta(hours=5)) for boot in boots))
    utc = ["0030", "0130"] if spring else ["2330", "0030", "0230"]
    assert sorted(sale_id[-7:-3] for sale_id in book.sales) == sorted(utc)


def test_a_change_of_a_schedule_applies_to_the_sales_that_do_not_exist_yet():
    book = Book(HOURLY)

    async def live():
        scheduler = asyncio.create_task(run_replica(book, at(0), at(125)))
        await asyncio.sleep(10 * 60)
        book.schedules[0] = replace(HOURLY, offset=timedelta(minutes=30), start_at=at(10), revision=1)
        await asyncio.sleep(100 * 60)
        book.schedules[0] = replace(HOURLY, paused=True, revision=2)
        await scheduler

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(live())
    assert sorted(book.sales) == [f"hourly-20261127t{time}00z" for time in ("0000", "0030", "0100", "0130", "0230")]
