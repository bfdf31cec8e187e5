"""Identities that are the same in every retry: ids bound to request ids, and fingerprints of requests.

A reservation's id is a keyed hash of the customer and the request id, so the primary key is the idempotency key. The
key of the hash is the sale's secret salt, so clients cannot guess ids (128 bits). See ADR 7.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from uuid import UUID

from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line

SALT_BYTES = 32
_HASH_BYTES = 16
_FINGERPRINT_VERSION = b"\x01"
"""The first byte of every fingerprint, so that a later format can be told from this one."""
_RESERVATION = b"reservation"
_STOCK_CHANGE = b"stock change"


def reservation_id(salt: bytes, customer: str, request_id: str) -> UUID:
    """Return the reservation id to which the customer's `request_id` is bound, in the sale of `salt`."""
    return _keyed_id(salt, _RESERVATION, customer, request_id)


def stock_change_id(salt: bytes, request_id: str) -> UUID:
    """Return the id to which a `request_id` is bound in the (source's) sale; not that of a reservation."""
    return _keyed_id(salt, _STOCK_CHANGE, request_id)


def create_fingerprint(
    customer: str,
    lines: tuple[Line, ...],
    hold_time: timedelta | None,
    *,
    allow_partial: bool,
    confirm: bool,
    order: str,
    notes: str | None = None,
) -> bytes:
    """Return the fingerprint of a create. `lines` must be merged."""
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
    if notes is not None:
        options += ("notes", notes)
    return _fingerprint("create", [customer, *items], options)


def adjust_fingerprint(item_id: str, delta: int, reason: AdjustReason, expected_version: int | None) -> bytes:
    """Return the fingerprint of an adjustment. The actor is not part of it."""
    options = [] if expected_version is None else ["expected_version", str(expected_version)]
    return _fingerprint("adjust", [item_id, str(delta), reason.name], options)


def transfer_fingerprint(source_item_id: str, sale_id: str, item_id: str, quantity: int) -> bytes:
    """Return the fingerprint of a transfer to an item of `sale_id`. The actor is not part of it."""
    return _fingerprint("transfer", [source_item_id, sale_id, item_id, str(quantity)], [])


def return_fingerprint(reservation: UUID, lines: tuple[Line, ...], reason: AdjustReason, *, restock: bool) -> bytes:
    """Return the fingerprint of a return of `lines`, which must be merged, of a reservation. The actor is not part of
    it.
    """
    items = [part for line in lines for part in (line.item_id, str(line.quantity))]
    return _fingerprint("return", [str(reservation), reason.name, *items], [] if restock else ["write_off"])


def change_fingerprint(kind: str, values: Mapping[str, object]) -> bytes:
    """Return the fingerprint of a change of a sale's rules or of an item. Values that are None are not part of it."""
    return _fingerprint(kind, [f"{name}={value}" for name, value in sorted(values.items()) if value is not None], [])


def _keyed_id(salt: bytes, kind: bytes, *parts: str) -> UUID:
    # BLAKE2's keyed mode (RFC 7693) is a MAC like HMAC, and costs a fraction of OpenSSL's HMAC.
    return UUID(bytes=blake2b(_framed(parts), digest_size=_HASH_BYTES, key=salt, person=kind).digest())


def _fingerprint(kind: str, parts: Sequence[str], options: Sequence[str]) -> bytes:
    """Hash `options` by name, and only those that are set, so that a new option does not change old fingerprints."""
    framed = _framed((kind, str(len(parts)), *parts, *options))
    return _FINGERPRINT_VERSION + blake2b(framed, digest_size=_HASH_BYTES).digest()


def _framed(parts: Iterable[str]) -> bytes:
    # Each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ.
    return "".join([f"{len(part)}:{part}" for part in parts]).encode()
