"""Why a request is refused: a class for each reason, with the facts that a caller needs.

The reasons are those of `holdfast.inventory.v1.ErrorReason`; `api.status` gives each its gRPC code and details.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import ClassVar, NamedTuple


class Reason(Enum):
    """The reasons that the inventory service gives, by their names on the wire."""

    INVALID_REQUEST = auto()
    NOT_FOUND = auto()
    ALREADY_EXISTS = auto()
    INSUFFICIENT_STOCK = auto()
    CUSTOMER_LIMIT_REACHED = auto()
    SALE_NOT_OPEN = auto()
    SALE_CLOSED = auto()
    SALE_PAUSED = auto()
    RESERVATION_EXPIRED = auto()
    RESERVATION_RELEASED = auto()
    RESERVATION_CONFIRMED = auto()
    EXTENSION_LIMIT_REACHED = auto()
    BELOW_HELD = auto()
    STOCK_CHANGED = auto()
    REQUEST_ID_REUSED = auto()
    OVERLOADED = auto()
    RATE_LIMITED = auto()
    DATABASE_UNAVAILABLE = auto()
    DRAINING = auto()
    DEADLINE_IN_QUEUE = auto()
    OUTCOME_UNKNOWN = auto()
    READER_TOO_SLOW = auto()
    WATCH_EXPIRED = auto()
    INTERNAL = auto()


class DomainError(Exception):
    """A refusal. Its text is safe to show to the caller.

    `before_anything`: it was given before the ledger was asked, so it speaks for this attempt alone; any other rests
    on the ledger, which knows what an earlier attempt at the same request did.
    """

    reason: ClassVar[Reason]
    before_anything: ClassVar[bool] = False


class FieldViolation(NamedTuple):
    """A field, by its path in the request (`lines[2].quantity`), and the rule that it breaks."""

    field: str
    description: str


@dataclass(eq=False)
class InvalidRequest(DomainError):
    """One or more fields break a rule."""

    reason = Reason.INVALID_REQUEST
    violations: tuple[FieldViolation, ...]

    def __str__(self) -> str:
        return "; ".join(f"{field}: {description}" for field, description in self.violations)


@dataclass(eq=False)
class NotFound(DomainError):
    """There is no such resource, or not for this caller."""

    reason = Reason.NOT_FOUND
    resource: str

    def __str__(self) -> str:
        return f"{self.resource} does not exist"


@dataclass(eq=False)
class AlreadyExists(DomainError):
    """The resource exists."""

    reason = Reason.ALREADY_EXISTS
    resource: str

    def __str__(self) -> str:
        return f"{self.resource} exists already"


class Shortage(NamedTuple):
    """A line that asks for more units than are available."""

    item_id: str
    asked: int
    available: int


@dataclass(eq=False)
class InsufficientStock(DomainError):
    """Fewer units are available than are asked for."""

    reason = Reason.INSUFFICIENT_STOCK
    shortages: tuple[Shortage, ...]

    def __str__(self) -> str:
        return "; ".join(f"{s.item_id}: {s.asked} asked, {s.available} available" for s in self.shortages)


@dataclass(eq=False)
class CustomerLimitReached(DomainError):
    """The customer would go over a limit: an item's, or without `item_id` the sale's. In units."""

    reason = Reason.CUSTOMER_LIMIT_REACHED
    limit: int
    used: int
    item_id: str | None = None

    def __str__(self) -> str:
        scope = f" of {self.item_id}" if self.item_id else ""
        return f"the limit is {self.limit}{scope} for each customer, and {self.used} are held or bought already"


@dataclass(eq=False)
class SaleNotOpen(DomainError):
    """The sale opens later."""

    reason = Reason.SALE_NOT_OPEN
    open_at: datetime
    retry_after_seconds: float

    def __str__(self) -> str:
        return f"the sale opens at {self.open_at.isoformat()}"


@dataclass(eq=False)
class SaleClosed(DomainError):
    """The sale has closed or was cancelled."""

    reason = Reason.SALE_CLOSED

    def __str__(self) -> str:
        return "the sale is over"


@dataclass(eq=False)
class SalePaused(DomainError):
    """The sale is paused."""

    reason = Reason.SALE_PAUSED

    def __str__(self) -> str:
        return "the sale is paused"


@dataclass(eq=False)
class ReservationExpired(DomainError):
    """The hold has run out."""

    reason = Reason.RESERVATION_EXPIRED
    expires_at: datetime

    def __str__(self) -> str:
        return f"the reservation expired at {self.expires_at.isoformat()}"


@dataclass(eq=False)
class ReservationReleased(DomainError):
    """The hold was given back."""

    reason = Reason.RESERVATION_RELEASED

    def __str__(self) -> str:
        return "the reservation was released"


@dataclass(eq=False)
class ReservationConfirmed(DomainError):
    """The units are sold, under `order`."""

    reason = Reason.RESERVATION_CONFIRMED
    order: str

    def __str__(self) -> str:
        return f"the reservation was confirmed with order '{self.order}'"


@dataclass(eq=False)
class ExtensionLimitReached(DomainError):
    """The new end is past the ceiling."""

    reason = Reason.EXTENSION_LIMIT_REACHED
    latest_expires_at: datetime

    def __str__(self) -> str:
        return f"the reservation cannot be held beyond {self.latest_expires_at.isoformat()}"


@dataclass(eq=False)
class BelowHeld(DomainError):
    """The adjustment would leave fewer units than are held."""

    reason = Reason.BELOW_HELD
    on_hand: int
    held: int

    def __str__(self) -> str:
        return f"{self.on_hand} are on hand and {self.held} of them are held"


@dataclass(eq=False)
class StockChanged(DomainError):
    """The item's version is not the expected one."""

    reason = Reason.STOCK_CHANGED
    version: int

    def __str__(self) -> str:
        return f"the item has changed: its version is {self.version}"


@dataclass(eq=False)
class RequestIdReused(DomainError):
    """The request id was used with another meaning."""

    reason = Reason.REQUEST_ID_REUSED

    def __str__(self) -> str:
        return "the request id was used for a different request"


@dataclass(eq=False)
class Overloaded(DomainError):
    """The queue is too long."""

    reason = Reason.OVERLOADED
    before_anything = True
    retry_after_seconds: float

    def __str__(self) -> str:
        return "too many requests are waiting"


@dataclass(eq=False)
class RateLimited(DomainError):
    """The caller sends too much."""

    reason = Reason.RATE_LIMITED
    before_anything = True
    retry_after_seconds: float

    def __str__(self) -> str:
        return "too many requests from this caller"


@dataclass(eq=False)
class DatabaseUnavailable(DomainError):
    """The database cannot be reached. Nothing was done."""

    reason = Reason.DATABASE_UNAVAILABLE
    before_anything = True
    retry_after_seconds: float = 1.0

    def __str__(self) -> str:
        return "the database cannot be reached; nothing was done"


@dataclass(eq=False)
class Draining(DomainError):
    """This process is shutting down."""

    reason = Reason.DRAINING
    before_anything = True
    retry_after_seconds: float = 0.1

    def __str__(self) -> str:
        return "this replica is shutting down; go on with another"


@dataclass(eq=False)
class DeadlineInQueue(DomainError):
    """The deadline passed before anything was done."""

    reason = Reason.DEADLINE_IN_QUEUE
    before_anything = True

    def __str__(self) -> str:
        return "the deadline passed in the queue; nothing was done"


@dataclass(eq=False)
class OutcomeUnknown(DomainError):
    """The connection was lost in COMMIT, and its outcome was not learned before the deadline."""

    reason = Reason.OUTCOME_UNKNOWN
    retry_after_seconds: float = 1.0

    def __str__(self) -> str:
        return "it is not known whether this was done; send it again with the same request id"


@dataclass(eq=False)
class ReaderTooSlow(DomainError):
    """The reader of a watch does not keep up."""

    reason = Reason.READER_TOO_SLOW

    def __str__(self) -> str:
        return "the reader is too slow; resume from the last resume token"


@dataclass(eq=False)
class WatchExpired(DomainError):
    """A watch has lasted as long as one may. `resume_token` is that of its last event, if these have any."""

    reason = Reason.WATCH_EXPIRED
    resume_token: str = ""
    retry_after_seconds: float = 0.0

    def __str__(self) -> str:
        return "this watch has lasted as long as one may; go on at once where it ended"


@dataclass(eq=False)
class Internal(DomainError):
    """A fault of ours, told without detail."""

    reason = Reason.INTERNAL

    def __str__(self) -> str:
        return "internal error"
