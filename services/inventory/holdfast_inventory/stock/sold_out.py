"""Refusals of creates from memory: the answer that the lock would have given a moment ago. See ADR 4.

A refusal may be that old; stock is never given from memory. The remembered state was committed when it was read, and is
forgotten after `max_age_seconds`, so that units that come back in any replica are sold again within this time.

There is no second set of rules: the pure core decides on the remembered state. Any result other than a shortage or a
missing admission token, and any decision that needs something that is not remembered, is left to the lock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from holdfast_inventory.domain.commands import Create
from holdfast_inventory.domain.decide import Answer, State, decide
from holdfast_inventory.domain.errors import AdmissionRequired, InsufficientStock
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import Sale, SaleState

MAX_SALES = 10_000
MAX_LEVELS = 50_000
"""The most items of all sales together. What is forgotten for lack of room is read again by the next batch."""


class _Level(NamedTuple):
    """An item, read after `began`. `hold_ends_at` is that of `State.holds_end_at`; None: not known."""

    item: Item
    hold_ends_at: datetime | None
    began: float


@dataclass(slots=True)
class _Known:
    """A sale at `now` of the database's clock, read after `began`, and its items, each with its own time."""

    sale: Sale
    now: datetime
    began: float
    items: dict[str, _Level] = field(default_factory=dict)


class SoldOut:
    """The memory of stock levels. Times are loop times, in seconds."""

    def __init__(self, max_age_seconds: float) -> None:
        self._max_age_seconds = max_age_seconds
        self._sales: dict[str, _Known] = {}
        self._levels = 0

    def on_read(
        self, began: float, sale: Sale, now: datetime, items: Sequence[Item], holds_end_at: Mapping[str, datetime]
    ) -> None:
        """Remember a state that was read after `began`, at the time `now` of the database's clock."""
        # The sale's state and the customer's limit take precedence over stock, and the customers' use is not
        # remembered.
        if sale.limits_customers or sale.state_at(now) is not SaleState.OPEN:
            self.forget(sale.sale_id)
            if not sale.admission_required:
                return
            items = ()
        known = self._room_for(sale, now, began, len(items))
        known.sale, known.now, known.began = sale, now, began
        before = len(known.items)
        for item in items:
            known.items[item.item_id] = _Level(item, holds_end_at.get(item.item_id), began)
        self._levels += len(known.items) - before

    def forget(self, sale_id: str) -> None:
        """Forget a sale, because another replica changed its stock."""
        if (known := self._sales.pop(sale_id, None)) is not None:
            self._levels -= len(known.items)

    def _room_for(self, sale: Sale, now: datetime, began: float, items: int) -> _Known:
        """Return what is known of a sale, with room for more items. Everything is forgotten if there is none."""
        if len(self._sales) >= MAX_SALES or self._levels + items > MAX_LEVELS:
            self._sales.clear()
            self._levels = 0
        known = self._sales.get(sale.sale_id)
        if known is None:
            known = self._sales[sale.sale_id] = _Known(sale, now, began)
        return known

    def refusal(self, sale_id: str, command: Create, now: float) -> AdmissionRequired | InsufficientStock | None:
        """Return the refusal of `command` if it is known."""
        known = self._sales.get(sale_id)
        if known is None or now - known.began > self._max_age_seconds:
            return None
        if known.sale.admission_required and not command.admission.is_valid:
            refusal = _decided(known, known.now, {}, {}, command)
            return refusal if isinstance(refusal, AdmissionRequired) else None
        return self._shortage(known, command, now)

    def _shortage(self, known: _Known, command: Create, now: float) -> InsufficientStock | None:
        """Return the refusal for lack of stock. Never refuses `allow_partial`."""
        levels = None if command.allow_partial else self._remembered(known, command, now)
        if levels is None:
            return None
        short = [levels[item_id] for item_id, units in command.lines if levels[item_id].item.available < units]
        if not short or not all(map(_is_end_known, short)):
            return None
        # This is the latest possible time: a sale that may be over by now is left to the lock.
        latest = known.now + timedelta(seconds=now - known.began)
        items = {item_id: level.item for item_id, level in levels.items()}
        ends = {item_id: level.hold_ends_at for item_id, level in levels.items() if level.hold_ends_at is not None}
        refusal = _decided(known, latest, items, ends, command)
        return refusal if isinstance(refusal, InsufficientStock) else None

    def _remembered(self, known: _Known, command: Create, now: float) -> dict[str, _Level] | None:
        """Return the requested items; None unless all of them are remembered."""
        levels: dict[str, _Level] = {}
        for item_id, _ in command.lines:
            level = known.items.get(item_id)
            if level is None or now - level.began > self._max_age_seconds:
                return None
            levels[item_id] = level
        return levels


def _decided(
    known: _Known, now: datetime, items: Mapping[str, Item], ends: Mapping[str, datetime], command: Create
) -> Answer:
    [answer] = decide(State(known.sale, now, items, {}, {}, (), False, {}, ends), [command]).answers
    return answer


def _is_end_known(level: _Level) -> bool:
    """Return whether it is known when units of the item may come back."""
    return level.item.held == 0 or level.hold_ends_at is not None
