"""Refused creates, as they are kept for reports and for support."""

from datetime import datetime
from typing import NamedTuple

from holdfast_inventory.domain.reservation import Line

Key = tuple[str, str, str]
"""What identifies a customer's refusals: customer, sale and reason."""


class RefusalCount(NamedTuple):
    """How many creates of a sale were refused for a reason."""

    sale_id: str
    reason: str
    refusals: int


class CustomerRefusal(NamedTuple):
    """How many creates of a customer in a sale were refused for a reason, and the lines of the last of them."""

    customer: str
    sale_id: str
    reason: str
    refusals: int
    first_at: datetime
    last_at: datetime
    lines: tuple[Line, ...]

    @property
    def key(self) -> Key:
        """What identifies it."""
        return self.customer, self.sale_id, self.reason

    def plus(self, later: "CustomerRefusal") -> "CustomerRefusal":
        """Return these refusals and later ones of the same key."""
        return CustomerRefusal(*self.key, self.refusals + later.refusals, self.first_at, later.last_at, later.lines)
