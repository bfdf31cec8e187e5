"""Page tokens: where a list goes on, opaque to the caller and good only for the list that they came from."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from holdfast.inventory.v1 import sale_service_pb2
from holdfast_chassis.field_rules import rules_at

_DIGEST_BYTES = 12
_MAX_CHARACTERS: int = rules_at(sale_service_pb2.ListSalesRequest.DESCRIPTOR, "page_token").string.max_len


def encode(cursor: str, *bound_to: str) -> str:
    """Return the token of the page behind `cursor`, bound to the method, the parent and the filters of its list."""
    raw = cursor.encode()
    return urlsafe_b64encode(_digest(raw, bound_to) + raw).decode()


def next_page(cursor: str | None, bound_to: tuple[str, ...]) -> str:
    """Return the token of the page behind `cursor`, or the empty one when there is none."""
    return "" if cursor is None else encode(cursor, *bound_to)


def decode(token: str, *bound_to: str) -> str | None:
    """Return the cursor in a token, or None when it was not made for this list, or has been changed.

    The digest has no key: a cursor is only a place, and all that the caller may see there is checked again. It keeps
    mistakes out, not attackers.
    """
    if len(token) > _MAX_CHARACTERS:
        return None
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        cursor = raw[_DIGEST_BYTES:].decode()
    except (UnicodeError, binascii.Error):
        return None
    return cursor if encode(cursor, *bound_to) == token else None


def _digest(cursor: bytes, bound_to: tuple[str, ...]) -> bytes:
    # Lengths in front, so that ("ab", "c") and ("a", "bc") differ.
    framed = b"".join(b"%d:%b" % (len(part), part) for part in (cursor, *(text.encode() for text in bound_to)))
    return blake2b(framed, digest_size=_DIGEST_BYTES, person=b"page token").digest()
