"""A principal: the identity of a caller."""

from dataclasses import dataclass

OWN = "reservations.own"
"""The scope of a buyer. A caller with only this scope can act only for the customer that its token names."""
ANY_CUSTOMER = "reservations.write"
"""The scope of a shop's backend, which acts for any customer."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity of a caller.

    `name` is the actor of what it changes: `customers/c-1` for a buyer, `clients/{sub}` for any other token,
    `keys/{name}` for an API key. `customer` is the one that a token names; empty for a key.
    """

    name: str
    scopes: frozenset[str]
    customer: str = ""

    @property
    def is_buyer(self) -> bool:
        """Whether it can change only the reservations of its own customer."""
        return OWN in self.scopes and ANY_CUSTOMER not in self.scopes


ANONYMOUS = Principal("", frozenset())
"""A caller without a credential."""
