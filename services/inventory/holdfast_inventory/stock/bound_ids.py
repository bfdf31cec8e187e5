"""Looks up granted request ids in groups, without the sale's lock."""

import asyncio
from uuid import UUID

from holdfast_inventory.domain.errors import DatabaseUnavailable
from holdfast_inventory.ports import SaleStore

MAX_IDS = 256


class BoundIds:
    """A look-up of reservation ids. Ids that arrive during a look-up are combined in the next one."""

    def __init__(self, store: SaleStore) -> None:
        self._store = store
        self._waiting: dict[str, dict[UUID, asyncio.Future[bool]]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}

    async def is_bound(self, sale_id: str, reservation_id: UUID) -> bool:
        """Return whether the sale has this reservation. Raises `DatabaseUnavailable`."""
        waiting = self._waiting.setdefault(sale_id, {})
        future = waiting.get(reservation_id)
        if future is None:
            future = waiting[reservation_id] = asyncio.get_running_loop().create_future()
        if sale_id not in self._workers:
            self._workers[sale_id] = asyncio.create_task(self._work(sale_id), name=f"bound-ids {sale_id}")
        # Shielded, because others may wait for the same id.
        return await asyncio.shield(future)

    async def _work(self, sale_id: str) -> None:
        waiting = self._waiting[sale_id]
        try:
            while waiting:
                group = {reservation_id: waiting.pop(reservation_id) for reservation_id in list(waiting)[:MAX_IDS]}
                await self._look_up(sale_id, group)
        finally:
            del self._workers[sale_id], self._waiting[sale_id]

    async def _look_up(self, sale_id: str, group: dict[UUID, asyncio.Future[bool]]) -> None:
        try:
            found = await self._store.bound_ids(sale_id, group)
        except Exception as error:  # noqa: BLE001 -- the callers get it
            for future in group.values():
                future.set_exception(error if isinstance(error, DatabaseUnavailable) else DatabaseUnavailable())
                future.exception()  # The caller may have gone away.
            return
        for reservation_id, future in group.items():
            future.set_result(reservation_id in found)
