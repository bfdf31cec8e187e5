"""Sold-out refusals from memory: true a moment ago, which is all that a refusal promises.

Stock is only ever given under the sale's lock; this only spares the lock those who would get nothing. What is
remembered was read under the lock, and is forgotten after `max_age_seconds`, so that units that come back, by
whichever replica, are sold again within that time.
"""

from collections.abc import Sequence

from holdfast_inventory.domain.commands import Create
from holdfast_inventory.domain.errors import InsufficientStock, Shortage
from holdfast_inventory.domain.item import Item

MAX_SALES = 10_000
MAX_ITEMS = 10_000


class SoldOut:
    """What is known to be short. Times are loop times, in seconds."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._available: dict[str, dict[str, tuple[int, float]]] = {}

    def read(self, sale_id: str, began: float, items: Sequence[Item]) -> None:
        """Remembers levels that were true at some time after `began`."""
        known = self._available.get(sale_id)
        if known is None:
            if len(self._available) >= MAX_SALES:
                self._available.clear()
            known = self._available[sale_id] = {}
        elif len(known) > MAX_ITEMS:
            known.clear()
        for item in items:
            known[item.item_id] = (item.available, began)

    def forget(self, sale_id: str) -> None:
        """The sale's stock has changed elsewhere."""
        self._available.pop(sale_id, None)

    def refusal(self, sale_id: str, command: Create, now: float) -> InsufficientStock | None:
        """Why `command` would be refused, if that is known. Never for one that takes what there is."""
        known = self._available.get(sale_id)
        if known is None or command.allow_partial:
            return None
        shortages = []
        for item_id, quantity in command.lines:
            available, began = known.get(item_id, (quantity, 0.0))
            if available < quantity and now - began <= self._max_age_seconds:
                shortages.append(Shortage(item_id, quantity, available))
        return InsufficientStock(tuple(shortages)) if shortages else None
