"""Identities that a retry cannot change: ids bound to request ids, and fingerprints of what was meant.

A reservation's id is a keyed hash of the customer and the request id, so the primary key is the idempotency key:
deterministic for us, unguessable (128 bits under a secret salt of the sale) for everybody else.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from hashlib import blake2b
from uuid import UUID

from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line

SALT_BYTES = 32
_HASH_BYTES = 16
_FINGERPRINT_VERSION = b"\x01"
"""In front of every fingerprint: a release that makes them in another way can still tell, and make, the older ones."""
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
    options: list[str] = []
    if hold_time is not None:
        options += ("hold_time", str(hold_time // timedelta(microseconds=1)))
    if allow_partial:
        options.append("allow_partial")
    if confirm:
        options.append("confirm")
    if order:
        options += ("order", order)
    return _fingerprint("create", [customer, *items], options)


def adjust_fingerprint(item_id: str, delta: int, reason: AdjustReason, expected_version: int | None) -> bytes:
    """The meaning of an adjustment. Who asks is not part of it."""
    options = [] if expected_version is None else ["expected_version", str(expected_version)]
    return _fingerprint("adjust", [item_id, str(delta), reason.name], options)


def transfer_fingerprint(source_item_id: str, sale_id: str, item_id: str, quantity: int) -> bytes:
    """The meaning of a transfer to an item of `sale_id`. Who asks is not part of it."""
    return _fingerprint("transfer", [source_item_id, sale_id, item_id, str(quantity)], [])


def _keyed_id(salt: bytes, kind: bytes, *parts: str) -> UUID:
    # BLAKE2's keyed mode is a MAC as HMAC is one, for a fraction of what OpenSSL's takes of a busy server.
    return UUID(bytes=blake2b(_framed(parts), digest_size=_HASH_BYTES, key=salt, person=kind).digest())


def _fingerprint(kind: str, parts: Sequence[str], options: Sequence[str]) -> bytes:
    """`options` by their names, and only those that are set: one that is added later changes no stored meaning."""
    framed = _framed((kind, str(len(parts)), *parts, *options))
    return _FINGERPRINT_VERSION + blake2b(framed, digest_size=_HASH_BYTES).digest()


def _framed(parts: Iterable[str]) -> bytes:
    # Lengths in front, so that ("ab", "c") and ("a", "bc") differ.
    return "".join([f"{len(part)}:{part}" for part in parts]).encode()
