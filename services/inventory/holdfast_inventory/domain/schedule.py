"""A schedule: a template that opens an ordinary sale every period, or by a calendar."""

from base64 import b32encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import blake2b
from itertools import islice
from typing import Any

from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest
from holdfast_inventory.domain.sale import NO_EARLY_ACCESS, NewItem, NewSale, broken_template_rules, repeated_items

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIN_PERIOD = timedelta(seconds=60)
LONGEST_PERIOD = timedelta(days=366)
MIN_OPEN_DURATION = timedelta(seconds=1)
NO_OFFSET = timedelta()
LATE_LEAD = timedelta(seconds=60)
"""How long before its opening a sale is created, at least: enough for schedulers that look every few seconds, and short
where units return to the source first.
"""
CALENDAR_LEAD = timedelta(minutes=10)
"""How long before its opening a sale is created by a calendar: until then the schedule can change."""

_RUN_BYTES = 10
"""Of the hash in the id of a sale that is opened out of turn: 16 characters, as many as those of a time."""


class Remainder(Enum):
    """What happens to the units that are left when an occurrence is over."""

    STAY = 1
    RETURN = 2
    CARRY_OVER = 3


@dataclass(frozen=True, slots=True)
class Period:
    """A recurrence by a fixed period, aligned to the Unix epoch."""

    length: timedelta

    def next_after(self, moment: datetime) -> datetime:
        """Return the first opening after `moment`."""
        return self.latest_until(moment) + self.length

    def latest_until(self, moment: datetime) -> datetime:
        """Return the last opening that is not after `moment`."""
        return moment - (moment - EPOCH) % self.length


@dataclass(frozen=True, slots=True)
class Schedule:
    """A template of sales, when they open and how long each is open. Units come from `source_sale_id`, or are new.

    `open_duration`: None if each sale closes when the next one opens, which all do at the latest. Each opening is
    `offset` later than the recurrence says. No sale opens before `start_at`, nor at or after `end_at`. `lead_time`: how
    long before its opening a sale is created; None: see `lead`. `revision` counts the schedule's changes.
    """

    schedule_id: str
    recurrence: Period | Calendar
    open_duration: timedelta | None
    per_customer_limit: int
    hold_time: timedelta
    max_hold_time: timedelta
    items: tuple[NewItem, ...]
    source_sale_id: str | None
    remainder: Remainder
    created_at: datetime
    shop_confirms: bool = False
    admission_required: bool = False
    early_access: timedelta = NO_EARLY_ACCESS
    offset: timedelta = NO_OFFSET
    start_at: datetime | None = None
    end_at: datetime | None = None
    lead_time: timedelta | None = None
    paused: bool = False
    updated_at: datetime = EPOCH
    revision: int = 0


def started(schedule: Schedule, now: datetime) -> Schedule:
    """Return the schedule with a start: a calendar opens nothing that was due before `now` unless it is told to."""
    if isinstance(schedule.recurrence, Calendar) and schedule.start_at is None:
        return replace(schedule, start_at=now)
    return schedule


def changed(schedule: Schedule, changes: Mapping[str, Any], now: datetime) -> Schedule:
    """Return the schedule with new values, by their attributes. Raises `InvalidRequest` if they contradict others.

    If its sales were open until the next opening, they still are. If it opens sales at other times, these begin now.
    """
    given = dict(changes)
    if "recurrence" in given and _lasts_a_period(schedule):
        given = {"open_duration": None} | given
    new = replace(schedule, **given)
    if "start_at" not in given and (new.recurrence, new.offset) != (schedule.recurrence, schedule.offset):
        new = replace(new, start_at=now if new.start_at is None else max(now, new.start_at))
    new = until_the_next(started(new, now))
    if violations := tuple(broken_rules(new, "sale_schedule")):
        raise InvalidRequest(violations)
    return new


def until_the_next(schedule: Schedule) -> Schedule:
    """Return the schedule with the duration for which its sales are open, if that is a whole period."""
    if isinstance(schedule.recurrence, Period) and schedule.open_duration is None:
        return replace(schedule, open_duration=schedule.recurrence.length)
    return schedule


def _lasts_a_period(schedule: Schedule) -> bool:
    return isinstance(schedule.recurrence, Period) and schedule.open_duration == schedule.recurrence.length


def broken_rules(schedule: Schedule, field: str) -> Iterator[FieldViolation]:
    """Yield contradictions between fields of a schedule at `field` of a request. Each field is valid by itself."""
    if isinstance(schedule.recurrence, Period):
        yield from _broken_by_period(schedule, schedule.recurrence.length, field)
    if schedule.start_at is not None and schedule.end_at is not None and schedule.end_at <= schedule.start_at:
        yield FieldViolation(f"{field}.end_time", "must be after start_time")
    if schedule.lead_time is not None and schedule.lead_time < schedule.early_access:
        yield FieldViolation(f"{field}.lead_time", "must be at least the template's early_access")
    if schedule.remainder is Remainder.RETURN and schedule.source_sale_id is None:
        yield FieldViolation(f"{field}.source_sale", "must be set: the remainder returns to it")
    yield from broken_template_rules(schedule, f"{field}.template")
    yield from repeated_items(schedule.items, f"{field}.template")


def _broken_by_period(schedule: Schedule, period: timedelta, field: str) -> Iterator[FieldViolation]:
    if schedule.open_duration is not None and schedule.open_duration > period:
        yield FieldViolation(f"{field}.open_duration", "must be at most the period")
    if schedule.offset >= period:
        yield FieldViolation(f"{field}.offset", "must be less than the period")


def opening_at_or_before(schedule: Schedule, moment: datetime) -> datetime | None:
    """Return the latest opening that is not after `moment`, whether or not the schedule has started."""
    found = schedule.recurrence.latest_until(moment - schedule.offset)
    return None if found is None else found + schedule.offset


def opening_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """Return the first opening after `moment`, whether or not the schedule has started."""
    found = schedule.recurrence.next_after(moment - schedule.offset)
    return None if found is None else found + schedule.offset


def next_openings(schedule: Schedule, now: datetime, most: int) -> list[datetime]:
    """Return the next openings after `now`, in order; none while the schedule is paused."""
    return list(islice(_openings_after(schedule, now), most))


def _openings_after(schedule: Schedule, now: datetime) -> Iterator[datetime]:
    after = now if schedule.start_at is None else max(now, schedule.start_at - datetime.resolution)
    opening = opening_after(schedule, after)
    while opening is not None and _may_open(schedule, opening):
        yield opening
        opening = opening_after(schedule, opening)


def _may_open(schedule: Schedule, opening: datetime) -> bool:
    has_started = schedule.start_at is None or schedule.start_at <= opening
    return has_started and (schedule.end_at is None or opening < schedule.end_at) and not schedule.paused


def lead(schedule: Schedule) -> timedelta:
    """Return how long before its opening a sale is created."""
    if schedule.lead_time is not None:
        return schedule.lead_time
    if schedule.remainder is Remainder.RETURN:
        return LATE_LEAD + schedule.early_access
    if isinstance(schedule.recurrence, Calendar):
        return CALENDAR_LEAD + schedule.early_access
    return schedule.recurrence.length  # So that the next one always exists.


def wanted_openings(schedule: Schedule, now: datetime, ahead: timedelta) -> list[datetime]:
    """Return the openings whose sales must exist at `now`: the current one, and the next if it is within `ahead`.

    Openings that were missed are left out: a sale that is over would only take stock.
    """
    last = opening_at_or_before(schedule, now)
    current = [] if last is None or not _may_open(schedule, last) or _is_over(schedule, last, now) else [last]
    return current + [opening for opening in next_openings(schedule, now, 1) if opening - now <= ahead]


def _is_over(schedule: Schedule, open_at: datetime, now: datetime) -> bool:
    close_at = closes_at(schedule, open_at)
    return close_at is not None and close_at <= now


def closes_at(schedule: Schedule, open_at: datetime) -> datetime | None:
    """Return when the sale that opens at `open_at` closes: when the next one opens, at the latest.

    None: never, if no other opens for decades.
    """
    following = opening_after(schedule, open_at)
    if schedule.open_duration is None:
        return following
    close_at = open_at + schedule.open_duration
    return close_at if following is None else min(close_at, following)


def occurrence_id(schedule: Schedule, open_at: datetime) -> str:
    """Return the id of the sale that opens at `open_at`: the same on every replica, so that it is created once."""
    return f"{schedule.schedule_id}-{open_at.astimezone(UTC):%Y%m%dt%H%M%Sz}"


def run_id(schedule: Schedule, seed: bytes) -> str:
    """Return the id of a sale that is opened out of turn: the same for the same seed."""
    token = b32encode(blake2b(seed, digest_size=_RUN_BYTES).digest()).decode().lower()
    return f"{schedule.schedule_id}-{token}"


def occurrence(schedule: Schedule, open_at: datetime) -> NewSale:
    """Return the sale that opens at `open_at`."""
    return NewSale(
        sale_id=occurrence_id(schedule, open_at),
        open_at=open_at,
        close_at=closes_at(schedule, open_at),
        per_customer_limit=schedule.per_customer_limit,
        hold_time=schedule.hold_time,
        max_hold_time=schedule.max_hold_time,
        items=schedule.items,
        schedule_id=schedule.schedule_id,
        shop_confirms=schedule.shop_confirms,
        admission_required=schedule.admission_required,
        early_access=schedule.early_access,
    )
