"""Schedules, the sales that they open, and the remainders of these sales."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from holdfast_chassis.entropy import Entropy
from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.change import UNKNOWN_CAUSE, Cause, ChangeKind, FieldChange, differences
from holdfast_inventory.domain.errors import AlreadyExists, NotFound
from holdfast_inventory.domain.identity import SALT_BYTES
from holdfast_inventory.domain.item import MAX_UNITS, Item
from holdfast_inventory.domain.sale import NewItem, NewSale, Sale, SaleState
from holdfast_inventory.domain.schedule import (
    Period,
    Remainder,
    Schedule,
    changed,
    occurrence,
    run_id,
    started,
)
from holdfast_inventory.ports import Committed
from holdfast_inventory.postgres.batch import lock_sale
from holdfast_inventory.postgres.changes import record_change
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import arguments, load
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

_SEED_BYTES = 16
_REMAINDERS = {remainder.value: remainder for remainder in Remainder}
_SAME = (
    "open_duration", "per_customer_limit", "hold_time", "max_hold_time", "source_sale_id", "shop_confirms",
    "admission_required", "early_access", "start_at", "end_at", "lead_time", "paused",
)  # fmt: skip
"""The attributes of a schedule that change and have a column of the same name and type."""


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
            new = started(new, await database_now(connection))
            row = await _write(connection, SQL["insert_schedule"], new)
            if row is None:
                raise AlreadyExists(_actor(new))
            created = _schedule(row)
            await record_change(connection, _actor(new), ChangeKind.CREATE, cause, differences(None, created))
        return created

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

    async def update_schedule(
        self, schedule_id: str, changes: Mapping[str, Any], cause: Cause = UNKNOWN_CAUSE
    ) -> Schedule:
        """Change a schedule: new values by the attributes of `Schedule`. Its existing sales stay as they are.

        Raises `InvalidRequest` if rules contradict each other, and `NotFound`, also if the source sale does not exist.
        """
        return await self._change(schedule_id, ChangeKind.UPDATE, cause, changes)

    async def set_schedule_paused(self, schedule_id: str, paused: bool, cause: Cause = UNKNOWN_CAUSE) -> Schedule:
        """Pause or resume a schedule. Its existing sales stay as they are. Raises `NotFound`."""
        kind = ChangeKind.PAUSE if paused else ChangeKind.RESUME
        return await self._change(schedule_id, kind, cause, {"paused": paused})

    async def _change(self, schedule_id: str, kind: ChangeKind, cause: Cause, changes: Mapping[str, Any]) -> Schedule:
        async with self._database.writing() as connection:
            before = await _lock(connection, schedule_id)
            after = changed(before, changes, await database_now(connection))
            if after == before:
                return before
            if after.source_sale_id not in {None, before.source_sale_id}:
                await require_sale(connection, str(after.source_sale_id))
            await record_change(connection, _actor(after), kind, cause, differences(before, after))
            row = await _write(connection, SQL["update_schedule"], after)
        return _schedule(row)

    async def delete_schedule(self, schedule_id: str, cause: Cause = UNKNOWN_CAUSE) -> None:
        """Delete a schedule. Its sales stay. Raises `NotFound`."""
        async with self._database.writing() as connection:
            if await connection.fetchval(SQL["delete_schedule"], schedule_id) is None:
                raise NotFound(f"saleSchedules/{schedule_id}")
            await record_change(connection, f"saleSchedules/{schedule_id}", ChangeKind.DELETE, cause)

    async def create_occurrence(self, schedule: Schedule, open_at: datetime) -> bool:
        """Create the sale that opens at `open_at`, with its stock: new units, or the units that the source has.

        Return False if it exists already, or the schedule is not as it was read. Raises `NotFound` if the source sale
        is missing.
        """
        async with self._database.writing() as connection:
            kept = (schedule.schedule_id, schedule.created_at, schedule.revision)
            if await connection.fetchval(SQL["keep_schedule"], *kept) is None:
                return False
            commits = await self._open(connection, schedule, occurrence(schedule, open_at), Cause(_actor(schedule)))
        self._tell(commits or [])
        return commits is not None

    async def run_schedule(self, schedule_id: str, request_id: str, cause: Cause = UNKNOWN_CAUSE) -> tuple[str, bool]:
        """Open a sale now, out of turn, once for each request id; an empty one is new. A pause does not matter.

        Return the sale's id, and whether it existed already. Raises `NotFound`, also if the source sale is missing.
        """
        seed = request_id.encode() or self._entropy.token_bytes(_SEED_BYTES)
        async with self._database.writing() as connection:
            schedule = await _lock(connection, schedule_id)
            new = replace(occurrence(schedule, await database_now(connection)), sale_id=run_id(schedule, seed))
            commits = await self._open(connection, schedule, new, cause)
            if commits is not None:
                ran = [FieldChange("sale", "", new.sale_id)]
                await record_change(connection, _actor(schedule), ChangeKind.RUN, cause, ran)
        self._tell(commits or [])
        return new.sale_id, commits is None

    async def _open(
        self, connection: Connection, schedule: Schedule, new: NewSale, cause: Cause
    ) -> list[Committed] | None:
        """Create a sale with its stock. Return the commits to announce; None if it exists already."""
        sale = await insert_sale(connection, new, self._entropy.token_bytes(SALT_BYTES))
        if sale is None:
            return None
        await record_change(connection, f"sales/{new.sale_id}", ChangeKind.CREATE, cause, differences(None, sale))
        if schedule.source_sale_id is None:
            return await put_first_stock(connection, sale, new.items, cause.actor)
        # This cannot deadlock: the new sale is not visible yet, so no transaction waits for it.
        source = await lock_sale(connection, schedule.source_sale_id)
        most = {item.item_id: item.on_hand for item in new.items}
        return await draw(connection, source, sale, most, cause.actor)

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


async def _lock(connection: Connection, schedule_id: str) -> Schedule:
    row = await connection.fetchrow(SQL["lock_schedule"], schedule_id)
    if row is None:
        raise NotFound(f"saleSchedules/{schedule_id}")
    return _schedule(row)


async def _write(connection: Connection, statement: str, schedule: Schedule) -> Any:  # noqa: ANN401 - a row, or None
    return await connection.fetchrow(statement, *arguments(statement, _columns(schedule)))


def _columns(schedule: Schedule) -> dict[str, Any]:
    recurrence = schedule.recurrence
    calendar = recurrence if isinstance(recurrence, Calendar) else None
    return {
        "schedule_id": schedule.schedule_id,
        "period": recurrence.length if isinstance(recurrence, Period) else None,
        "cron": calendar and calendar.cron,
        "time_zone": calendar and calendar.time_zone,
        "excluded_dates": calendar and calendar.excluded_dates,
        "opening_offset": schedule.offset,
        "item_ids": [item.item_id for item in schedule.items],
        "on_hands": [item.on_hand for item in schedule.items],
        "item_per_customer_limits": [item.per_customer_limit for item in schedule.items],
        "remainder": schedule.remainder.value,
        **{name: getattr(schedule, name) for name in _SAME},
    }


def _schedule(row: Row) -> Schedule:
    items = zip(row["item_ids"], row["on_hands"], row["item_per_customer_limits"], strict=True)
    return Schedule(
        schedule_id=row["schedule_id"],
        recurrence=_recurrence(row),
        offset=row["opening_offset"],
        items=tuple(NewItem(*item) for item in items),
        remainder=_REMAINDERS[row["remainder"]],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        revision=row["revision"],
        **{name: row[name] for name in _SAME},
    )


def _recurrence(row: Row) -> Period | Calendar:
    if row["cron"] is None:
        return Period(row["period"])
    return Calendar(row["cron"], row["time_zone"], tuple(row["excluded_dates"]))
