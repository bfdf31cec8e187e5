"""Identities that a retry cannot change: ids bound to request ids, and fingerprints of what was meant.

A reservation's id is a keyed hash of the customer and the request id, so the primary key is the idempotency key:
deterministic for us, unguessable (128 bits under a secret salt of the sale) for everybody else.
"""

from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b
from uuid import UUID

from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line

SALT_BYTES = 32
_HASH_BYTES = 16
_RESERVATION = b"reservation"
_STOCK_CHANGE = b"stock change"


def reservation_id(salt: bytes, customer: str, request_id: str) -> UUID:
    """The id that `request_id` of `customer` is bound to in the sale that `salt` belongs to."""
    return _keyed_id(salt, _RESERVATION, customer, request_id)


def stock_change_id(salt: bytes, request_id: str) -> UUID:
    """The id that the `request_id` of an adjustment or a transfer is bound to, in the (source's) sale."""
    return _keyed_id(salt, _STOCK_CHANGE, request_id)


def create_fingerprint(
    customer: str,
    lines: tuple[Line, ...],
    hold_time: timedelta | None,
    *,
    allow_partial: bool,
    confirm: bool,
    order: str,
) -> bytes:
    """The meaning of a create. `lines` must be merged."""
    items = [part for line in lines for part in (line.item_id, str(line.quantity))]
    flags = f"{allow_partial:d}{confirm:d}{_microseconds(hold_time)}"
    return _digest("create", customer, flags, order, *items)


def adjust_fingerprint(item_id: str, delta: int, reason: AdjustReason, expected_version: int | None) -> bytes:
    """The meaning of an adjustment. Who asks is not part of it."""
    return _digest("adjust", item_id, str(delta), reason.name, str(expected_version))


def transfer_fingerprint(source_item_id: str, sale_id: str, item_id: str, quantity: int) -> bytes:
    """The meaning of a transfer to an item of `sale_id`. Who asks is not part of it."""
    return _digest("transfer", source_item_id, sale_id, item_id, str(quantity))


def _keyed_id(salt: bytes, kind: bytes, *parts: str) -> UUID:
    # BLAKE2's keyed mode is a MAC as HMAC is one, for a fraction of what OpenSSL's takes of a busy server.
    return UUID(bytes=blake2b(_framed(parts), digest_size=_HASH_BYTES, key=salt, person=kind).digest())


def _digest(*parts: str) -> bytes:
    return blake2b(_framed(parts), digest_size=_HASH_BYTES).digest()


def _framed(parts: Iterable[str]) -> bytes:
    # Lengths in front, so that ("ab", "c") and ("a", "bc") differ.
    return "".join([f"{len(part)}:{part}" for part in parts]).encode()


def _microseconds(span: timedelta | None) -> str:
    return "" if span is None else str(span // timedelta(microseconds=1))
