"""A sale's ledger in memory, which answers the reads of a catalog and can be made to fail."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import Movement, MovementKind
from holdfast_inventory.ports import Committed

SALE = "drop-1"


class PaperLedger:
    def __init__(self, **on_hand):
        self.items = {item_id: Item(item_id, units, 0, 0, 0, 0) for item_id, units in on_hand.items()}
        self.movements = []
        self.reads = []
        self.failure = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @property
    def sequence(self):
        return len(self.movements)

    def hold(self, *item_ids, quantity=1):
        """Append one batch that holds units, and return what its commit announces."""
        before = self.sequence
        batch_at = datetime(2026, 11, 27, tzinfo=UTC) + timedelta(microseconds=before)
        for item_id in item_ids:
            item = self.items[item_id]
            self.items[item_id] = item._replace(held=item.held + quantity, version=self.sequence + 1)
            self.movements.append(
                Movement(self.sequence + 1, MovementKind.HOLD, item_id, 0, quantity, 0, None, None, "", batch_at)
            )
        changed = [self.items[item_id] for item_id in dict.fromkeys(item_ids)]
        return Committed(SALE, before, self.sequence, changed)

    def levels(self):
        return [item for _, item in sorted(self.items.items())]

    async def get_sale(self, sale_id):
        await self._answer("get_sale", sale_id)
        return SimpleNamespace(sale=SimpleNamespace(sequence=self.sequence))

    async def get_item(self, sale_id, item_id):
        await self._answer("get_item", sale_id)
        return self.items[item_id]

    async def snapshot(self, sale_id):
        await self._answer("snapshot", sale_id)
        return self.sequence, self.levels()

    async def list_movements(self, sale_id, after_sequence, limit):
        await self._answer("list_movements", sale_id)
        return self.movements[after_sequence : after_sequence + limit]

    async def _answer(self, name, sale_id):
        self.reads.append(name)
        await asyncio.sleep(0)
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        if sale_id != SALE:
            raise NotFound(f"sales/{sale_id}")
