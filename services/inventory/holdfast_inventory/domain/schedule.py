"""A schedule: a template that opens an ordinary sale every period."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from holdfast_inventory.domain.errors import FieldViolation
from holdfast_inventory.domain.sale import NO_EARLY_ACCESS, NewItem, NewSale, broken_template_rules, repeated_items

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MIN_PERIOD = timedelta(seconds=60)
LONGEST_PERIOD = timedelta(days=366)
MIN_OPEN_DURATION = timedelta(seconds=1)


class Remainder(Enum):
    """What happens to the units that are left when an occurrence is over."""

    STAY = 1
    RETURN = 2
    CARRY_OVER = 3


@dataclass(frozen=True, slots=True)
class Schedule:
    """A template of sales, their period and how long each is open. Units come from `source_sale_id`, or are new."""

    schedule_id: str
    period: timedelta
    open_duration: timedelta
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


def broken_rules(schedule: Schedule, field: str) -> Iterator[FieldViolation]:
    """Yield contradictions between fields of a schedule at `field` of a request. Each field is valid by itself."""
    if schedule.open_duration > schedule.period:
        yield FieldViolation(f"{field}.open_duration", "must be at most the period")
    if schedule.remainder is Remainder.RETURN and schedule.source_sale_id is None:
        yield FieldViolation(f"{field}.source_sale", "must be set: the remainder returns to it")
    yield from broken_template_rules(schedule, f"{field}.template")
    yield from repeated_items(schedule.items, f"{field}.template")


def opening_at_or_before(schedule: Schedule, moment: datetime) -> datetime:
    """Return the latest opening that is not after `moment`. Openings are aligned to the Unix epoch."""
    return moment - (moment - EPOCH) % schedule.period


def wanted_openings(schedule: Schedule, now: datetime, ahead: timedelta) -> list[datetime]:
    """Return the openings whose sales must exist at `now`: the current one, and the next if it is within `ahead`.

    Openings that were missed are left out: a sale that is over would only take stock.
    """
    last = opening_at_or_before(schedule, now)
    following = last + schedule.period
    wanted = [last] if now < last + schedule.open_duration else []
    return [*wanted, following] if following - now <= ahead else wanted


def occurrence_id(schedule: Schedule, open_at: datetime) -> str:
    """Return the id of the sale that opens at `open_at`: the same on every replica, so that it is created once."""
    return f"{schedule.schedule_id}-{open_at.astimezone(UTC):%Y%m%dt%H%M%Sz}"


def occurrence(schedule: Schedule, open_at: datetime) -> NewSale:
    """Return the sale that opens at `open_at`."""
    return NewSale(
        sale_id=occurrence_id(schedule, open_at),
        open_at=open_at,
        close_at=open_at + schedule.open_duration,
        per_customer_limit=schedule.per_customer_limit,
        hold_time=schedule.hold_time,
        max_hold_time=schedule.max_hold_time,
        items=schedule.items,
        schedule_id=schedule.schedule_id,
        shop_confirms=schedule.shop_confirms,
        admission_required=schedule.admission_required,
        early_access=schedule.early_access,
    )
