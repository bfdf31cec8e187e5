"""Sold-out refusals from memory: what the lock would have said a moment ago, which is all that a refusal promises.

Stock is only ever given on the state that it was decided on; this only spares the database those who would get
nothing. What is remembered was committed when it was read, and is forgotten after `max_age_seconds`, so that units
that come back, by whichever replica, are sold again within that time.

It is no second set of rules: the pure core decides, on what is remembered. Whatever it would say but that there is too
little, and whatever rests on something that is not remembered, is left to the lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from holdfast_inventory.domain.commands import Create
from holdfast_inventory.domain.decide import State, decide
from holdfast_inventory.domain.errors import InsufficientStock
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import Sale, SaleState

MAX_SALES = 10_000
MAX_ITEMS = 10_000


class _Level(NamedTuple):
    """An item as it was some time after `began`. `hold_ends_at`: as `State.holds_end_at` has it; None: not known."""

    item: Item
    hold_ends_at: datetime | None
    began: float


@dataclass(slots=True)
class _Known:
    """A sale as it was at `now`, by the database's clock, some time after `began`; and its items, each with its own."""

    sale: Sale
    now: datetime
    began: float
    items: dict[str, _Level] = field(default_factory=dict)


class SoldOut:
    """What is known to be short. Times are loop times, in seconds."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._sales: dict[str, _Known] = {}

    def on_read(
        self, began: float, sale: Sale, now: datetime, items: Sequence[Item], holds_end_at: Mapping[str, datetime]
    ) -> None:
        """Remembers what was true at some time after `began`, when the database's clock said `now`."""
        if sale.limits_customers or sale.state_at(now) is not SaleState.OPEN:
            # The state comes before stock, and so does the customer's limit: its use is not remembered.
            self.forget(sale.sale_id)
            return
        known = self._sales.get(sale.sale_id)
        if known is None:
            if len(self._sales) >= MAX_SALES:
                self._sales.clear()
            known = self._sales[sale.sale_id] = _Known(sale, now, began)
        elif len(known.items) > MAX_ITEMS:
            known.items.clear()
        known.sale, known.now, known.began = sale, now, began
        for item in items:
            known.items[item.item_id] = _Level(item, holds_end_at.get(item.item_id), began)

    def forget(self, sale_id: str) -> None:
        """The sale's stock has changed elsewhere."""
        self._sales.pop(sale_id, None)

    def refusal(self, sale_id: str, command: Create, now: float) -> InsufficientStock | None:
        """Why `command` would be refused, if that is known. Never for one that takes what there is."""
        known = self._sales.get(sale_id)
        if known is None or command.allow_partial or now - known.began > self._max_age_seconds:
            return None
        levels = self._remembered(known, command, now)
        if levels is None:
            return None
        short = [levels[item_id] for item_id, units in command.lines if levels[item_id].item.available < units]
        if not short or not all(map(_is_end_known, short)):
            return None
        # It is this late at most: a sale that may be over by now is left to the lock.
        latest = known.now + timedelta(seconds=now - known.began)
        items = {item_id: level.item for item_id, level in levels.items()}
        ends = {item_id: level.hold_ends_at for item_id, level in levels.items() if level.hold_ends_at is not None}
        [answer] = decide(State(known.sale, latest, items, {}, {}, (), False, {}, ends), [command]).answers
        return answer if isinstance(answer, InsufficientStock) else None

    def _remembered(self, known: _Known, command: Create, now: float) -> dict[str, _Level] | None:
        """The items that are asked for; none, unless all of them are remembered."""
        levels: dict[str, _Level] = {}
        for item_id, _ in command.lines:
            level = known.items.get(item_id)
            if level is None or now - level.began > self._max_age_seconds:
                return None
            levels[item_id] = level
        return levels


def _is_end_known(level: _Level) -> bool:
    """Whether it can be told when units of the item may come back."""
    return level.item.held == 0 or level.hold_ends_at is not None
