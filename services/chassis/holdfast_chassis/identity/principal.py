"""A principal: who makes a call."""

from dataclasses import dataclass

OWN = "reservations.own"
"""The scope of a buyer. Who has no more than this acts for the customer that the token names, and for no other."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    `name` is the actor of what it changes: `customers/c-1` for a buyer, `clients/{sub}` for any other token,
    `keys/{name}` for an API key. `customer`: whom a token names; empty for a key.
    """

    name: str
    scopes: frozenset[str]
    customer: str = ""


ANONYMOUS = Principal("", frozenset())
"""A caller without a credential."""
