"""A sale: items that are sold under one set of rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import blake2b
from typing import Protocol

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest

DEFAULT_HOLD_TIME = timedelta(seconds=120)
DEFAULT_MAX_HOLD_TIME = timedelta(seconds=900)
MIN_HOLD_TIME = timedelta(seconds=1)
LONGEST_HOLD_TIME = timedelta(days=30)
LONGEST_EARLY_ACCESS = timedelta(days=30)
NO_EARLY_ACCESS = timedelta()
_FIRST_TIME = datetime.min.replace(tzinfo=UTC)
_ETAG_BYTES = 8
_NOT_RULES = {"sequence", "salt", "limits_customers"}
"""The fields of a sale that change with its stock and items, or are secret."""


class Template(Protocol):
    """The part that a sale and the template of a schedule have in common."""

    @property
    def hold_time(self) -> timedelta:
        """How long a hold lasts if its request does not say."""

    @property
    def max_hold_time(self) -> timedelta:
        """The longest that a hold may last."""


class SaleState(Enum):
    """The state of a sale. It is never stored: `Sale.state_at` derives it."""

    SCHEDULED = 1
    OPEN = 2
    PAUSED = 3
    CLOSED = 4
    CANCELLED = 5


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale's rules, and the last sequence of its ledger.

    `salt` makes reservation ids unguessable and never leaves the service. `limits_customers` is true if the sale or
    any of its items has a limit per customer; only then the customers' use is counted. `shop_confirms`: buyers may not
    confirm. `admission_required`: a create needs an admission token. `early_access`: how long before `open_at` the sale
    is open for customers whose token allows it. `labels` come from `labels.labels_text`.
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
    shop_confirms: bool = False
    admission_required: bool = False
    early_access: timedelta = NO_EARLY_ACCESS
    display_name: str = ""
    labels: str = ""

    def state_at(self, now: datetime, *, early: bool = False) -> SaleState:
        """Return the sale's state at `now`, which must come from the database's clock.

        `early`: for a customer with early access.
        """
        if self.cancelled_at is not None:
            return SaleState.CANCELLED
        if self.close_at is not None and self.close_at <= now:
            return SaleState.CLOSED
        if now < self.opens_at(early=early):
            return SaleState.SCHEDULED
        return SaleState.PAUSED if self.paused else SaleState.OPEN

    @property
    def etag(self) -> str:
        """Another value after each change of the rules."""
        rules = [str(getattr(self, each.name)) for each in fields(self) if each.name not in _NOT_RULES]
        return blake2b("\0".join(rules).encode(), digest_size=_ETAG_BYTES).hexdigest()

    def opens_at(self, *, early: bool) -> datetime:
        """Return when the sale opens; `early`: for a customer with early access."""
        return self.open_at - min(self.early_access, self.open_at - _FIRST_TIME) if early else self.open_at


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to create, with its first stock in units."""

    item_id: str
    on_hand: int
    per_customer_limit: int
    display_name: str = ""
    labels: str = ""


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
    shop_confirms: bool = False
    admission_required: bool = False
    early_access: timedelta = NO_EARLY_ACCESS
    display_name: str = ""
    labels: str = ""


@dataclass(frozen=True, slots=True)
class SaleChanges:
    """New values of a sale's rules. None leaves a rule as it is; `never_closes` removes its close_at."""

    open_at: datetime | None = None
    close_at: datetime | None = None
    never_closes: bool = False
    per_customer_limit: int | None = None
    hold_time: timedelta | None = None
    max_hold_time: timedelta | None = None
    shop_confirms: bool | None = None
    admission_required: bool | None = None
    early_access: timedelta | None = None
    display_name: str | None = None
    labels: str | None = None

    def applied_to(self, sale: Sale) -> Sale:
        """Return the sale with its new rules. Raises `InvalidRequest` with all rules that contradict each other."""
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        if given.pop("never_closes"):
            given["close_at"] = None
        changed = replace(sale, **given)
        if violations := tuple(broken_rules(changed, "sale")):
            raise InvalidRequest(violations)
        return changed


def hold_times(hold_time: timedelta | None, max_hold_time: timedelta | None) -> tuple[timedelta, timedelta]:
    """Return a sale's hold time and its maximum: the given values, or defaults that are consistent with them."""
    if hold_time is None:
        hold_time = DEFAULT_HOLD_TIME if max_hold_time is None else min(DEFAULT_HOLD_TIME, max_hold_time)
    return hold_time, max(DEFAULT_MAX_HOLD_TIME, hold_time) if max_hold_time is None else max_hold_time


def broken_rules(sale: NewSale | Sale, field: str) -> Iterator[FieldViolation]:
    """Yield contradictions between fields of a sale at `field` of a request. Each field is valid by itself."""
    if sale.open_at is not None and sale.close_at is not None and sale.close_at <= sale.open_at:
        yield FieldViolation(f"{field}.close_time", "must be after open_time")
    yield from broken_template_rules(sale, field)


def broken_template_rules(template: Template, field: str) -> Iterator[FieldViolation]:
    """Yield the contradictions in the part that a sale and the template of a schedule have in common."""
    if template.hold_time > template.max_hold_time:
        yield FieldViolation(f"{field}.hold_time", "must be at most max_hold_time")


def repeated_items(items: Sequence[NewItem], field: str) -> Iterator[FieldViolation]:
    """Yield a violation for each item whose id appears earlier in the list."""
    known: set[str] = set()
    for index, item in enumerate(items):
        if item.item_id in known:
            yield FieldViolation(f"{field}.items[{index}].item".lstrip("."), "must not appear twice")
        known.add(item.item_id)
