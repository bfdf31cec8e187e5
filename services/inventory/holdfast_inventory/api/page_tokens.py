"""Page tokens: the position in a list, opaque to callers and valid only for the same list."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from holdfast.inventory.v1 import sale_service_pb2
from holdfast_chassis.field_rules import rules_at

_DIGEST_BYTES = 12
_MAX_CHARACTERS: int = rules_at(sale_service_pb2.ListSalesRequest.DESCRIPTOR, "page_token").string.max_len


def encode(cursor: str, *bound_to: str) -> str:
    """Return the token of the page after `cursor`, bound to the method, the parent and the filters of its list."""
    raw = cursor.encode()
    return urlsafe_b64encode(_digest(raw, bound_to) + raw).decode()


def next_page(cursor: str | None, bound_to: tuple[str, ...]) -> str:
    """Return the token of the page after `cursor`, or an empty one if there is none."""
    return "" if cursor is None else encode(cursor, *bound_to)


def decode(token: str, *bound_to: str) -> str | None:
    """Return the cursor in a token, or None if the token belongs to another list or was changed.

    The digest has no key. It detects mistakes, not attacks: a cursor is only a position, and access is checked again.
    """
    if len(token) > _MAX_CHARACTERS:
        return None
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        cursor = raw[_DIGEST_BYTES:].decode()
    except (UnicodeError, binascii.Error):
        return None
    # No position has a control character, and PostgreSQL takes no text with U+0000.
    return cursor if cursor.isprintable() and encode(cursor, *bound_to) == token else None


def _digest(cursor: bytes, bound_to: tuple[str, ...]) -> bytes:
    # Each part is preceded by its length, so that ("ab", "c") and ("a", "bc") differ.
    framed = b"".join(b"%d:%b" % (len(part), part) for part in (cursor, *(text.encode() for text in bound_to)))
    return blake2b(framed, digest_size=_DIGEST_BYTES, person=b"page token").digest()
