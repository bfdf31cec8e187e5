"""The events of watches, and the tokens with which readers resume."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import Movement


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All items, by id, after the movement `sequence`. `lagged`: some earlier changes were not sent."""

    items: Sequence[Item]
    sequence: int
    lagged: bool
    resume_token: str


@dataclass(frozen=True, slots=True)
class Change:
    """The items that one batch changed, by id, in their new state. `previous_sequence` is that of the event before."""

    items: Sequence[Item]
    previous_sequence: int
    sequence: int
    resume_token: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A sign of life while nothing changes. `sequence` is that of the last movement that was sent."""

    sequence: int
    resume_token: str


StockEvent = Snapshot | Change | Heartbeat


@dataclass(frozen=True, slots=True)
class MovementEvent:
    """The next movements, in sequence. Without movements it is a heartbeat."""

    movements: Sequence[Movement]
    resume_token: str


class WatchKind(Enum):
    """What a resume token is for."""

    STOCK = 1
    MOVEMENTS = 2


_VERSION = 1
_SEQUENCE_BYTES = 8
_CHECK_BYTES = 6
_LONGEST_TOKEN = 64


def resume_token(kind: WatchKind, sale_id: str, sequence: int) -> str:
    """Return a token for a position of a watch. Opaque to readers; valid on every replica."""
    body = bytes([_VERSION, kind.value]) + sequence.to_bytes(_SEQUENCE_BYTES)
    return base64.urlsafe_b64encode(body + _check(sale_id, body)).rstrip(b"=").decode()


def resumed_sequence(kind: WatchKind, sale_id: str, token: str) -> int:
    """Return the sequence in a token. Raises InvalidRequest unless it comes from such a watch of this sale."""
    try:
        raw = base64.b64decode(token[:_LONGEST_TOKEN] + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if body[:2] != bytes([_VERSION, kind.value]) or check != _check(sale_id, body):
        raise InvalidRequest((FieldViolation("resume_token", "must be one that a watch of this sale has sent"),))
    return int.from_bytes(body[2:])


def _check(sale_id: str, body: bytes) -> bytes:
    """Return a checksum that binds a token to its sale and detects damaged tokens. It is not a secret."""
    return hashlib.blake2b(body + sale_id.encode(), digest_size=_CHECK_BYTES).digest()
