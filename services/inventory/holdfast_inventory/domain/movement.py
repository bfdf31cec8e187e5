"""A movement: one entry of a sale's append-only ledger."""

from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID


class MovementKind(Enum):
    """What happened to the stock."""

    HOLD = 1
    CONFIRM = 2
    RELEASE = 3
    EXPIRE = 4
    ADJUST = 5
    TRANSFER = 6
    RETURN = 7


class AdjustReason(Enum):
    """Why stock was adjusted by hand, or came back."""

    RECEIVED = 1
    RETURNED = 2
    COUNTED = 3
    DAMAGED = 4
    LOST = 5
    FOUND = 6
    CORRECTED = 7


class Movement(NamedTuple):
    """A change of one item's stock, in units, at one position of the sale's ledger."""

    sequence: int
    kind: MovementKind
    item_id: str
    on_hand_delta: int
    held_delta: int
    sold_delta: int
    reservation_id: UUID | None
    reason: AdjustReason | None
    actor: str
    created_at: datetime
