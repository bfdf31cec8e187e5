"""The refusals: a class for each reason, with the facts that a caller needs.

The contract (refusal.proto) has the properties of each reason; `api.refusals` renders them for callers.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, NamedTuple


class DomainError(Exception):
    """A refusal. Its text is safe to show to the caller.

    `reason` is the name of the class as the contract writes it: INSUFFICIENT_STOCK for InsufficientStock.
    `before_anything`: it was given before the ledger was read, so it says nothing about an earlier attempt at the same
    request. Any other refusal is based on the ledger, which includes the effects of earlier attempts.
    """

    reason: ClassVar[str]
    before_anything: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).upper()


class FieldViolation(NamedTuple):
    """A field, as its path in the request (`lines[2].quantity`), and the rule that it breaks."""

    field: str
    description: str


@dataclass(eq=False)
class InvalidRequest(DomainError):
    """One or more fields break a rule."""

    violations: tuple[FieldViolation, ...]

    def __str__(self) -> str:
        return "; ".join(f"{field}: {description}" for field, description in self.violations)


@dataclass(eq=False)
class Unauthenticated(DomainError):
    """The caller has no valid credential. `error` is RFC 6750's code; empty: it has none at all."""

    detail: str
    error: str

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class PermissionDenied(DomainError):
    """The caller may not do this. `scope`: what would allow it; empty: nothing would."""

    detail: str
    scope: str

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class IssuerUnavailable(DomainError):
    """The keys of the tokens' issuer cannot be fetched."""

    before_anything = True
    retry_after_seconds: float

    def __str__(self) -> str:
        return "the keys of the tokens' issuer cannot be fetched; nothing was done"


@dataclass(eq=False)
class AdmissionRequired(DomainError):
    """The create has no valid admission token."""

    detail: str

    def __str__(self) -> str:
        return self.detail


@dataclass(eq=False)
class NotFound(DomainError):
    """The resource does not exist, or this caller may not see it."""

    resource: str

    def __str__(self) -> str:
        return f"{self.resource} does not exist"


@dataclass(eq=False)
class AlreadyExists(DomainError):
    """The resource exists already."""

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
    """Fewer units are available than are asked for.

    `retry_after_seconds`: until a hold on each short item ends; None: the held units would not be enough.
    """

    shortages: tuple[Shortage, ...]
    retry_after_seconds: float | None = None

    def __str__(self) -> str:
        return "; ".join(f"{s.item_id}: {s.asked} asked, {s.available} available" for s in self.shortages)


@dataclass(eq=False)
class CustomerLimitReached(DomainError):
    """The customer would exceed a limit, in units: that of the item `item_id`, or if it is None that of the sale."""

    limit: int
    used: int
    item_id: str | None = None

    def __str__(self) -> str:
        scope = f" of {self.item_id}" if self.item_id else ""
        return f"the limit is {self.limit}{scope} for each customer, and {self.used} are held or bought already"


@dataclass(eq=False)
class SaleNotOpen(DomainError):
    """The sale opens later."""

    open_at: datetime
    retry_after_seconds: float

    def __str__(self) -> str:
        return f"the sale opens at {self.open_at.isoformat()}"


@dataclass(eq=False)
class SaleClosed(DomainError):
    """The sale has closed or was cancelled."""

    def __str__(self) -> str:
        return "the sale is over"


@dataclass(eq=False)
class SalePaused(DomainError):
    """The sale is paused."""

    retry_after_seconds: float = 5.0

    def __str__(self) -> str:
        return "the sale is paused"


@dataclass(eq=False)
class ReservationExpired(DomainError):
    """The hold has run out."""

    expires_at: datetime

    def __str__(self) -> str:
        return f"the reservation expired at {self.expires_at.isoformat()}"


@dataclass(eq=False)
class ReservationReleased(DomainError):
    """The hold was released."""

    def __str__(self) -> str:
        return "the reservation was released"


@dataclass(eq=False)
class ReservationConfirmed(DomainError):
    """The units are sold, under `order`."""

    order: str

    def __str__(self) -> str:
        return f"the reservation was confirmed with order '{self.order}'"


@dataclass(eq=False)
class ReservationHeld(DomainError):
    """The units are not sold yet."""

    def __str__(self) -> str:
        return "the reservation is not confirmed; release it instead"


@dataclass(eq=False)
class NotReturnable(DomainError):
    """The reservation has `left` units of the item that were not returned, fewer than asked for."""

    item_id: str
    asked: int
    left: int

    def __str__(self) -> str:
        return f"{self.item_id}: {self.asked} asked, {self.left} left to return"


@dataclass(eq=False)
class WebhookLimitReached(DomainError):
    """There are `limit` webhooks, as many as there may be."""

    limit: int

    def __str__(self) -> str:
        return f"there are {self.limit} webhooks already, as many as there may be"


@dataclass(eq=False)
class ExtensionLimitReached(DomainError):
    """The new end is after the latest one that the sale allows."""

    latest_expires_at: datetime

    def __str__(self) -> str:
        return f"the reservation cannot be held beyond {self.latest_expires_at.isoformat()}"


@dataclass(eq=False)
class BelowHeld(DomainError):
    """The adjustment would leave fewer units than are held."""

    on_hand: int
    held: int

    def __str__(self) -> str:
        return f"{self.on_hand} are on hand and {self.held} of them are held"


@dataclass(eq=False)
class StockChanged(DomainError):
    """The item's version is not the expected one."""

    version: int

    def __str__(self) -> str:
        return f"the item has changed: its version is {self.version}"


@dataclass(eq=False)
class SaleChanged(DomainError):
    """The sale's etag is not the expected one."""

    etag: str

    def __str__(self) -> str:
        return f"the sale has changed: its etag is {self.etag}"


@dataclass(eq=False)
class SaleInUse(DomainError):
    """The sale cannot be deleted, because units of it were held, sold or transferred."""

    def __str__(self) -> str:
        return "units of the sale were held, sold or transferred; cancel it instead"


@dataclass(eq=False)
class RequestIdReused(DomainError):
    """The request id was used with another meaning."""

    def __str__(self) -> str:
        return "the request id was used for a different request"


@dataclass(eq=False)
class RateLimited(DomainError):
    """The caller sends too many requests. Nothing was done."""

    before_anything = True
    requests: int
    window_seconds: float
    retry_after_seconds: float

    def __str__(self) -> str:
        return f"at most {self.requests} requests in {self.window_seconds:g} s"


@dataclass(eq=False)
class Overloaded(DomainError):
    """The queue is too long."""

    before_anything = True
    retry_after_seconds: float

    def __str__(self) -> str:
        return "too many requests are waiting"


@dataclass(eq=False)
class DatabaseUnavailable(DomainError):
    """The database cannot be reached. Nothing was done."""

    before_anything = True
    retry_after_seconds: float = 1.0

    def __str__(self) -> str:
        return "the database cannot be reached; nothing was done"


@dataclass(eq=False)
class Draining(DomainError):
    """This process is shutting down."""

    before_anything = True
    retry_after_seconds: float = 0.1

    def __str__(self) -> str:
        return "this replica is shutting down; use another"


@dataclass(eq=False)
class DeadlineInQueue(DomainError):
    """The deadline passed before anything was done."""

    before_anything = True
    retry_after_seconds: float = 1.0

    def __str__(self) -> str:
        return "the deadline passed in the queue; nothing was done"


@dataclass(eq=False)
class OutcomeUnknown(DomainError):
    """The connection was lost during COMMIT, and its outcome could not be determined before the deadline."""

    retry_after_seconds: float = 1.0

    def __str__(self) -> str:
        return "it is not known whether this was done; send it again with the same request id"


@dataclass(eq=False)
class ReaderTooSlow(DomainError):
    """The reader of a watch does not keep up."""

    retry_after_seconds: float = 1.0

    def __str__(self) -> str:
        return "the reader is too slow; resume from the last resume token"


@dataclass(eq=False)
class HeadersTooLarge(DomainError):
    """The metadata of a call is too large."""

    reason = "HEADERS_TOO_LARGE"

    def __str__(self) -> str:
        return "the metadata of a call must be at most 12 KiB"


@dataclass(eq=False)
class WatchExpired(DomainError):
    """The lifetime of a watch is over. `resume_token` is that of its last event, if its events have one."""

    resume_token: str = ""
    retry_after_seconds: float = 0.0

    def __str__(self) -> str:
        return "the lifetime of this watch is over; resume at once from the last resume token"


@dataclass(eq=False)
class Internal(DomainError):
    """A fault of the service. Details are only in the log."""

    def __str__(self) -> str:
        return "internal error"
