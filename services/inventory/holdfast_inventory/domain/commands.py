"""Commands to a sale. Each carries its own identity, so that executing it again is harmless."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line


class Admission(Enum):
    """The admission token of a create: none, expired, or valid, possibly with early access."""

    NONE = 1
    EXPIRED = 2
    VALID = 3
    EARLY = 4

    @property
    def is_valid(self) -> bool:
        """Whether the sale admits its customer."""
        return self in (Admission.VALID, Admission.EARLY)


class Create(NamedTuple):
    """Hold `lines` (merged: one per item) for a customer, or with `confirm` sell them at once.

    `reservation_id` comes from `identity.reservation_id` when the caller gave a request id. Otherwise it is random and
    `bound` is false: no reservation has it yet. `fingerprint` comes from `identity.create_fingerprint`. `actor` is the
    caller's name; empty where callers are not known. `by_buyer`: the caller may act only for its own customer.
    """

    reservation_id: UUID
    customer: str
    lines: tuple[Line, ...]
    hold_time: timedelta | None
    allow_partial: bool
    confirm: bool
    order: str
    fingerprint: bytes
    bound: bool = True
    actor: str = ""
    by_buyer: bool = False
    admission: Admission = Admission.NONE
    notes: str | None = None


class Confirm(NamedTuple):
    """Sell the units of a reservation. If `customer` is set, reservations of other customers are not found."""

    reservation_id: UUID
    order: str
    allow_late: bool
    customer: str
    actor: str = ""
    by_buyer: bool = False


class Release(NamedTuple):
    """Give a hold back."""

    reservation_id: UUID
    customer: str
    actor: str = ""


class Extend(NamedTuple):
    """Move a hold's end to a later time."""

    reservation_id: UUID
    expires_at: datetime
    customer: str


@dataclass(frozen=True, slots=True)
class Return:
    """Take sold units back, for sale again or (`restock` false) written off. No `lines`: all that are left.

    `lines` are merged. `change_id` and `fingerprint` as for `Adjust`.
    """

    change_id: UUID
    reservation_id: UUID
    lines: tuple[Line, ...]
    restock: bool
    reason: AdjustReason
    customer: str
    actor: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Adjust:
    """Change an item's on_hand by hand. `change_id` and `fingerprint` as for `Create`."""

    change_id: UUID
    item_id: str
    delta: int
    reason: AdjustReason
    expected_version: int | None
    actor: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Sweep:
    """End due holds. Every batch does this; a sweep makes a batch when there is no other command."""


Command = Create | Confirm | Release | Extend | Return | Adjust | Sweep


@dataclass(frozen=True, slots=True)
class Transfer:
    """Move available units to an item of another sale. Not in `Command`: it needs both sales' locks."""

    change_id: UUID
    source_sale_id: str
    source_item_id: str
    destination_sale_id: str
    destination_item_id: str
    quantity: int
    actor: str
    fingerprint: bytes
