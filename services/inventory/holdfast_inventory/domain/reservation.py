"""A reservation: stock held for a customer, then confirmed, released or expired."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID


class ReservationState(Enum):
    """HELD -> CONFIRMED | RELEASED | EXPIRED; EXPIRED -> CONFIRMED only when lateness is allowed."""

    HELD = 1
    CONFIRMED = 2
    RELEASED = 3
    EXPIRED = 4


class Line(NamedTuple):
    """So many units of one item."""

    item_id: str
    quantity: int


def merge_lines(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line for each item, ordered by item, so that equal meanings look equal."""
    merged: dict[str, int] = {}
    for item_id, quantity in lines:
        merged[item_id] = merged.get(item_id, 0) + quantity
    return tuple(Line(item_id, quantity) for item_id, quantity in sorted(merged.items()))


@dataclass(frozen=True, slots=True)
class Reservation:
    """Stock held for a customer. `fingerprint` is the meaning of the request that created it."""

    reservation_id: UUID
    customer: str
    lines: tuple[Line, ...]
    state: ReservationState
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    order: str
    fingerprint: bytes

    def is_due(self, now: datetime) -> bool:
        """Whether it holds stock that it no longer may."""
        return self.state is ReservationState.HELD and self.expires_at <= now
