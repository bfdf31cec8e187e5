"""A principal: the identity of a caller."""

from dataclasses import dataclass

OWN = "reservations.own"
"""The scope of a buyer. A caller with only this scope can act only for the customer that its token names."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity of a caller.

    `name` is the actor of what it changes: `customers/c-1` for a buyer, `clients/{sub}` for any other token,
    `keys/{name}` for an API key. `customer` is the one that a token names; empty for a key.
    """

    name: str
    scopes: frozenset[str]
    customer: str = ""


ANONYMOUS = Principal("", frozenset())
"""A caller without a credential."""
