"""A reservation: stock held for a customer, then confirmed, released or expired."""

from collections.abc import Iterable
from dataclasses import dataclass
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

    `returned` has the units that came back after the confirmation, ordered by item. `notes` are the caller's, from
    `labels.notes_text`.
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
    notes: str | None = None

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


@dataclass(frozen=True, slots=True)
class ReservationFilter:
    """Which reservations to list. None does not matter; times are from (included) and before (excluded)."""

    sale_id: str | None
    customer: str | None = None
    order: str | None = None
    state: ReservationState | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    ended_from: datetime | None = None
    ended_before: datetime | None = None

    @property
    def by_end(self) -> bool:
        """Whether it asks for a time of the end."""
        return self.ended_from is not None or self.ended_before is not None

    def matches(self, sale_id: str, known: Reservation) -> bool:
        """Return whether a reservation of a sale is wanted."""
        return (
            self.sale_id in {None, sale_id}
            and self.customer in {None, known.customer}
            and self.order in {None, known.order}
            and self.state in {None, known.state}
            and _is_within(known.created_at, self.created_from, self.created_before)
            and (not self.by_end or _is_within(known.ended_at, self.ended_from, self.ended_before))
        )


def _is_within(moment: datetime | None, first: datetime | None, end: datetime | None) -> bool:
    return moment is not None and (first is None or first <= moment) and (end is None or moment < end)
