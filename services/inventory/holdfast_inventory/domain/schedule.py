"""A schedule: a template that opens an ordinary sale every period."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from holdfast_inventory.domain.sale import NewItem

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Remainder(Enum):
    """What becomes of the units left when an occurrence is over."""

    STAY = 1
    RETURN = 2
    CARRY_OVER = 3


@dataclass(frozen=True, slots=True)
class Schedule:
    """A template of sales, their period and how long each opens. Units come from `source_sale_id`, or are new."""

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


def opening_at_or_before(schedule: Schedule, moment: datetime) -> datetime:
    """The latest opening that is not after `moment`. Openings are aligned to the Unix epoch."""
    return moment - (moment - EPOCH) % schedule.period


def occurrence_id(schedule: Schedule, open_at: datetime) -> str:
    """The id of the sale that opens at `open_at`: the same on every replica, so that it is created once."""
    return f"{schedule.schedule_id}-{open_at.astimezone(UTC):%Y%m%dt%H%M%Sz}"
