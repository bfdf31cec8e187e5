"""An item: one stock level of a sale."""

from dataclasses import dataclass
from typing import NamedTuple

from holdfast_inventory.domain.movement import AdjustReason

MAX_UNITS = 2**31 - 1
"""The most units an item may have in any of its columns: quantities are int32 on the wire and in the database."""


class Item(NamedTuple):
    """A stock level, in units. `version` is the sequence of the last movement that changed it."""

    item_id: str
    on_hand: int
    held: int
    sold: int
    per_customer_limit: int
    version: int
    display_name: str = ""
    labels: str = ""

    @property
    def available(self) -> int:
        """Units that can be reserved."""
        return self.on_hand - self.held


_RULES = ("per_customer_limit", "display_name", "labels")


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """New values of an item; None leaves one as it is. `expected_version`: only if the item still has it."""

    per_customer_limit: int | None = None
    on_hand: int | None = None
    expected_version: int | None = None
    reason: AdjustReason = AdjustReason.COUNTED
    display_name: str | None = None
    labels: str | None = None

    def applied_to(self, item: Item) -> Item:
        """Return the item with its new values, except its stock."""
        given = {name: value for name in _RULES if (value := getattr(self, name)) is not None}
        return item._replace(**given)
