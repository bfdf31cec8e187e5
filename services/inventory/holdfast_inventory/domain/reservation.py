"""A reservation: stock held for a customer, then confirmed, released or expired."""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID


class ReservationState(Enum):
    """HELD -> CONFIRMED | RELEASED | EXPIRED; EXPIRED -> CONFIRMED only with `allow_late`. See docs/states.md."""

    HELD = 1
    CONFIRMED = 2
    RELEASED = 3
    EXPIRED = 4


class Line(NamedTuple):
    """A number of units of one item."""

    item_id: str
    quantity: int


def merge_lines(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return one line per item, ordered by item, so that equivalent requests become equal."""
    merged: dict[str, int] = {}
    for item_id, quantity in lines:
        merged[item_id] = merged.get(item_id, 0) + quantity
    return tuple(Line(item_id, quantity) for item_id, quantity in sorted(merged.items()))


class Reservation(NamedTuple):
    """Stock held for a customer. `fingerprint` is that of the request that created it.

    `returned` has the units that came back after the confirmation, ordered by item.
    """

    reservation_id: UUID
    customer: str
    lines: tuple[Line, ...]
    returned: tuple[Line, ...]
    state: ReservationState
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    order: str
    fingerprint: bytes

    @property
    def kept(self) -> tuple[Line, ...]:
        """The units that were not returned, for each item; 0 if all were."""
        if not self.returned:
            return self.lines
        returned = dict(self.returned)
        return tuple([Line(item_id, quantity - returned.get(item_id, 0)) for item_id, quantity in self.lines])

    def is_due(self, now: datetime) -> bool:
        """Return whether this is a hold that has run out and was not ended yet."""
        return self.state is ReservationState.HELD and self.expires_at <= now
