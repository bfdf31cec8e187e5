"""A sale: a shelf of stock sold under one set of rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

DEFAULT_HOLD_TIME = timedelta(seconds=120)
DEFAULT_MAX_HOLD_TIME = timedelta(seconds=900)
MIN_HOLD_TIME = timedelta(seconds=1)
LONGEST_HOLD_TIME = timedelta(days=30)


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
