"""A sale: a shelf of stock sold under one set of rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest

DEFAULT_HOLD_TIME = timedelta(seconds=120)
DEFAULT_MAX_HOLD_TIME = timedelta(seconds=900)
MIN_HOLD_TIME = timedelta(seconds=1)
LONGEST_HOLD_TIME = timedelta(days=30)


class Template(Protocol):
    """What a sale and the template of a schedule have in common."""

    @property
    def hold_time(self) -> timedelta:
        """How long a hold lasts when its request does not say."""

    @property
    def max_hold_time(self) -> timedelta:
        """The longest that a hold may last."""


class SaleState(Enum):
    """What a sale is doing. Never stored: `Sale.state_at` derives it."""

    SCHEDULED = 1
    OPEN = 2
    PAUSED = 3
    CLOSED = 4
    CANCELLED = 5


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale's rules, and how far its log has come.

    `salt` makes reservation ids unguessable and never leaves the service. `limits_customers` is true when the
    sale or any of its items has a limit per customer; a sale without one never pays for counting.
    """

    sale_id: str
    open_at: datetime
    close_at: datetime | None
    per_customer_limit: int
    hold_time: timedelta
    max_hold_time: timedelta
    paused: bool
    cancelled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    schedule_id: str | None
    sequence: int
    salt: bytes
    limits_customers: bool

    def state_at(self, now: datetime) -> SaleState:
        """What the sale is doing at `now`, which must come from the database's clock."""
        if self.cancelled_at is not None:
            return SaleState.CANCELLED
        if self.close_at is not None and self.close_at <= now:
            return SaleState.CLOSED
        if now < self.open_at:
            return SaleState.SCHEDULED
        return SaleState.PAUSED if self.paused else SaleState.OPEN


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to create, with its first stock in units."""

    item_id: str
    on_hand: int
    per_customer_limit: int


@dataclass(frozen=True, slots=True)
class NewSale:
    """A sale to create. Without `open_at` it opens at once."""

    sale_id: str
    open_at: datetime | None
    close_at: datetime | None
    per_customer_limit: int
    hold_time: timedelta
    max_hold_time: timedelta
    items: tuple[NewItem, ...]
    schedule_id: str | None = None


@dataclass(frozen=True, slots=True)
class SaleChanges:
    """New values of a sale's rules. None leaves a rule as it is; `never_closes` takes its close_at away."""

    open_at: datetime | None = None
    close_at: datetime | None = None
    never_closes: bool = False
    per_customer_limit: int | None = None
    hold_time: timedelta | None = None
    max_hold_time: timedelta | None = None

    def applied_to(self, sale: Sale) -> Sale:
        """The sale under its new rules. Raises `InvalidRequest` with all rules that would not fit together."""
        names = ("open_at", "close_at", "per_customer_limit", "hold_time", "max_hold_time")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.never_closes:
            given["close_at"] = None
        changed = replace(sale, **given)
        if violations := tuple(broken_rules(changed, "sale")):
            raise InvalidRequest(violations)
        return changed


def hold_times(hold_time: timedelta | None, max_hold_time: timedelta | None) -> tuple[timedelta, timedelta]:
    """How long a sale's holds last, and at most: what was asked for, else what fits to it best."""
    if hold_time is None:
        hold_time = DEFAULT_HOLD_TIME if max_hold_time is None else min(DEFAULT_HOLD_TIME, max_hold_time)
    return hold_time, max(DEFAULT_MAX_HOLD_TIME, hold_time) if max_hold_time is None else max_hold_time


def broken_rules(sale: NewSale | Sale, field: str) -> Iterator[FieldViolation]:
    """What does not fit together in a sale that stands at `field` of a request; each field by itself is sound."""
    if sale.open_at is not None and sale.close_at is not None and sale.close_at <= sale.open_at:
        yield FieldViolation(f"{field}.close_time", "must be after open_time")
    yield from broken_template_rules(sale, field)


def broken_template_rules(template: Template, field: str) -> Iterator[FieldViolation]:
    """As `broken_rules`, of what a sale and the template of a schedule have in common."""
    if template.hold_time > template.max_hold_time:
        yield FieldViolation(f"{field}.hold_time", "must be at most max_hold_time")


def repeated_items(items: Sequence[NewItem], field: str) -> Iterator[FieldViolation]:
    """Those that name an item which one before them has named."""
    known: set[str] = set()
    for index, item in enumerate(items):
        if item.item_id in known:
            yield FieldViolation(f"{field}.items[{index}].item", "must not be there twice")
        known.add(item.item_id)
