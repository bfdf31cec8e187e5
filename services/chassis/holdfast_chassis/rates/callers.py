"""Who is counted, and under which keys."""

import hashlib
from collections.abc import Iterator

from google.protobuf.message import Message

from holdfast_chassis.contract import Kind
from holdfast_chassis.identity.principal import ANONYMOUS, Principal

COUNTED = ("holdfast-rate-counted", "1")
"""The metadata by which a gateway tells an inventory that it has counted a call, and all commands in it."""


def is_counted(kind: Kind) -> bool:
    """Return whether methods of a kind have a rate. What ends a purchase has none."""
    return kind is not Kind.FINISH


def keys_of(kind: Kind, principal: Principal, address: str, request: Message) -> list[str]:
    """Return the keys of a request's buckets. They are hashes, because names may be long and private.

    Methods of each kind are counted apart. A buyer is counted as the customer that it is; a shop's backend for each
    customer that it names, else as itself; a caller without a credential by its address and, since addresses are easy
    to come by, by the customer that it names.
    """
    callers = _callers(principal, address, request)
    return [hashlib.sha256(f"{kind.name} {who}".encode()).hexdigest()[:32] for who in callers]


def _callers(principal: Principal, address: str, request: Message) -> Iterator[str]:
    customer = principal.customer or getattr(request, "customer", "")
    if principal == ANONYMOUS:
        yield f"address {address}"
    elif not customer:
        yield f"principal {principal.name}"
    if customer:
        yield f"customer {customer}"


def client_address(forwarded_for: str, peer: str, trusted_hops: int) -> str:
    """Return the client's address: the one that the outermost trusted proxy saw, or else the peer's.

    Each proxy appends its caller's address to X-Forwarded-For; addresses further to the left may be forged.
    """
    if trusted_hops:
        seen = [each.strip() for each in forwarded_for.split(",")]
        if len(seen) >= trusted_hops and seen[-trusted_hops]:
            return seen[-trusted_hops]
    return peer
