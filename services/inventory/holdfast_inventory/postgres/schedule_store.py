"""Schedules, the sales that they open, and the remainders of these sales."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from holdfast_chassis.entropy import Entropy
from holdfast_inventory.domain.change import UNKNOWN_CAUSE, Cause, ChangeKind, differences
from holdfast_inventory.domain.errors import AlreadyExists, NotFound
from holdfast_inventory.domain.identity import SALT_BYTES
from holdfast_inventory.domain.item import MAX_UNITS, Item
from holdfast_inventory.domain.sale import NewItem, Sale, SaleState
from holdfast_inventory.domain.schedule import Remainder, Schedule, occurrence
from holdfast_inventory.ports import Committed
from holdfast_inventory.postgres.batch import lock_sale
from holdfast_inventory.postgres.changes import record_change
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import load
from holdfast_inventory.postgres.stocking import (
    database_now,
    draw,
    insert_items,
    insert_sale,
    lock_sales,
    put_first_stock,
    require_sale,
)

SQL = load("schedules")

_REMAINDERS = {remainder.value: remainder for remainder in Remainder}


class ScheduleStore:
    """Reads and writes of schedules. Raises `DatabaseUnavailable` and, when writing, `OutcomeUnknown`."""

    def __init__(self, database: Database, on_commit: Callable[[Committed], None], entropy: Entropy) -> None:
        """`on_commit` is called after each commit that moves stock."""
        self._database = database
        self._on_commit = on_commit
        self._entropy = entropy

    async def create_schedule(self, new: Schedule, cause: Cause = UNKNOWN_CAUSE) -> Schedule:
        """Create a schedule; its created_at comes from the database.

        Raises `AlreadyExists`, and `NotFound` if the source sale does not exist.
        """
        async with self._database.writing() as connection:
            if new.source_sale_id is not None:
                await require_sale(connection, new.source_sale_id)
            row = await connection.fetchrow(
                SQL["insert_schedule"],
                new.schedule_id,
                new.period,
                new.open_duration,
                new.per_customer_limit,
                new.hold_time,
                new.max_hold_time,
                [item.item_id for item in new.items],
                [item.on_hand for item in new.items],
                [item.per_customer_limit for item in new.items],
                new.source_sale_id,
                new.remainder.value,
                new.shop_confirms,
                new.admission_required,
                new.early_access,
            )
            if row is None:
                raise AlreadyExists(f"saleSchedules/{new.schedule_id}")
            await record_change(connection, _actor(new), ChangeKind.CREATE, cause)
        return _schedule(row)

    async def get_schedule(self, schedule_id: str) -> Schedule:
        """Read a schedule. Raises `NotFound`."""
        async with self._database.reading() as connection:
            row = await connection.fetchrow(SQL["get_schedule"], schedule_id)
        if row is None:
            raise NotFound(f"saleSchedules/{schedule_id}")
        return _schedule(row)

    async def list_schedules(self, page_size: int, after: str | None) -> tuple[list[Schedule], str | None]:
        """Return a page of schedules by id, and where the next page begins."""
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["list_schedules"], after or "", page_size + 1)
        page = [_schedule(row) for row in rows[:page_size]]
        return page, page[-1].schedule_id if len(rows) > page_size else None

    async def delete_schedule(self, schedule_id: str, cause: Cause = UNKNOWN_CAUSE) -> None:
        """Delete a schedule. Its sales stay. Raises `NotFound`."""
        async with self._database.writing() as connection:
            if await connection.fetchval(SQL["delete_schedule"], schedule_id) is None:
                raise NotFound(f"saleSchedules/{schedule_id}")
            await record_change(connection, f"saleSchedules/{schedule_id}", ChangeKind.DELETE, cause)

    async def create_occurrence(self, schedule: Schedule, open_at: datetime) -> bool:
        """Create the sale that opens at `open_at`, with its stock: new units, or the units that the source has.

        Return False if it exists already or the schedule was deleted. Raises `NotFound` if the source sale is missing.
        """
        async with self._database.writing() as connection:
            if await connection.fetchval(SQL["keep_schedule"], schedule.schedule_id) is None:
                return False
            new = occurrence(schedule, open_at)
            sale = await insert_sale(connection, new, self._entropy.token_bytes(SALT_BYTES))
            if sale is None:
                return False
            cause = Cause(_actor(schedule))
            await record_change(connection, f"sales/{new.sale_id}", ChangeKind.CREATE, cause, differences(None, sale))
            if schedule.source_sale_id is None:
                commits = await put_first_stock(connection, sale, new.items, _actor(schedule))
            else:
                # This cannot deadlock: the new sale is not visible yet, so no transaction waits for it.
                source = await lock_sale(connection, schedule.source_sale_id)
                most = {item.item_id: item.on_hand for item in new.items}
                commits = await draw(connection, source, sale, most, _actor(schedule))
        self._tell(commits)
        return True

    async def settle_remainder(self, schedule: Schedule, sale_id: str) -> bool:
        """Move the remainder of an occurrence to its destination, in one transaction. Repeating this is harmless.

        Return False if it is too early: the sale is not over or still holds units, or the next occurrence does not
        exist yet. Raises `NotFound`.
        """
        if schedule.remainder is Remainder.STAY:
            return True
        async with self._database.writing() as connection:
            destination_id = schedule.source_sale_id
            if schedule.remainder is Remainder.CARRY_OVER:
                destination_id = await connection.fetchval(SQL["next_occurrence"], schedule.schedule_id, sale_id)
            if destination_id is None:
                return False
            sales = await lock_sales(connection, (sale_id, destination_id))
            commits = await _move_remainder(connection, sales[sale_id], sales[destination_id], _actor(schedule))
        self._tell(commits or [])
        return commits is not None

    async def occurrences_to_settle(
        self, schedule: Schedule, before: datetime | None, stretch: int
    ) -> tuple[list[str], datetime | None]:
        """Return the ids of a schedule's sales whose remainder can be settled, the oldest first, and the next `before`.

        This reads the newest `stretch` sales, and as many of the sales that opened before `before`. Repeated calls
        with the returned `before` reach the oldest sale; then it is None, and the next call starts from the newest.
        """
        if schedule.remainder is Remainder.STAY:
            return [], None
        async with self._database.reading() as connection:
            [row] = await connection.fetch(SQL["occurrences_to_settle"], schedule.schedule_id, before, stretch)
        return row["sale_ids"], row["looked_back_to"]

    def _tell(self, commits: list[Committed]) -> None:
        for commit in commits:
            self._on_commit(commit)


async def _move_remainder(connection: Connection, over: Sale, destination: Sale, actor: str) -> list[Committed] | None:
    """Move all units of a sale that is over to another. Both are locked. Return None if it is too early."""
    now = await database_now(connection)
    items = [Item(**row) for row in await connection.fetch(SQL["remaining_items"], over.sale_id)]
    is_over = over.state_at(now) in {SaleState.CLOSED, SaleState.CANCELLED}
    if not is_over or any(item.held for item in items):
        return None
    # The destination may lack some of the items.
    missing = [NewItem(item.item_id, 0, item.per_customer_limit) for item in items]
    await insert_items(connection, destination, missing)
    return await draw(connection, over, destination, {item.item_id: MAX_UNITS for item in items}, actor)


def _actor(schedule: Schedule) -> str:
    return f"saleSchedules/{schedule.schedule_id}"


def _schedule(row: Row) -> Schedule:
    columns: dict[str, Any] = dict(row)
    items = zip(columns.pop("item_ids"), columns.pop("on_hands"), columns.pop("item_per_customer_limits"), strict=True)
    return Schedule(
        **columns | {"items": tuple(NewItem(*item) for item in items), "remainder": _REMAINDERS[row["remainder"]]}
    )
