"""What callers may ask of a sale's log. Each names its own identity, so that executing it again is harmless."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line


@dataclass(frozen=True, slots=True)
class Create:
    """Hold `lines` (merged: one for each item) for a customer, or with `confirm` sell them at once.

    `reservation_id` comes from `identity.reservation_id` when the caller gave a request id, and is random
    otherwise; then `bound` is false: no reservation can have it yet. `fingerprint` comes from
    `identity.create_fingerprint`.
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


@dataclass(frozen=True, slots=True)
class Confirm:
    """Sell what a reservation holds. `customer`: if set, another customer's reservation does not exist."""

    reservation_id: UUID
    order: str
    allow_late: bool
    customer: str


@dataclass(frozen=True, slots=True)
class Release:
    """Give a hold back."""

    reservation_id: UUID
    customer: str


@dataclass(frozen=True, slots=True)
class Extend:
    """Move a hold's end to a later time."""

    reservation_id: UUID
    expires_at: datetime
    customer: str


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
    """Expire what is due. Every batch does; this makes one when nobody else asks."""


Command = Create | Confirm | Release | Extend | Adjust | Sweep


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
