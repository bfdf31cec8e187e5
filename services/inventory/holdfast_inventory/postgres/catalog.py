"""Sales and items off the hot path: creating, changing and reading them.

Changes of stock, which must be fast, go through `stock_ledger`.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.domain.change import (
    UNCONDITIONAL,
    UNKNOWN_CAUSE,
    Cause,
    Change,
    ChangeKind,
    Condition,
    differences,
    first_stock,
    item_differences,
)
from holdfast_inventory.domain.errors import AlreadyExists, NotFound, SaleChanged, SaleInUse
from holdfast_inventory.domain.identity import SALT_BYTES
from holdfast_inventory.domain.item import Item, ItemChanges
from holdfast_inventory.domain.labels import has_labels
from holdfast_inventory.domain.sale import NewItem, NewSale, Sale, SaleChanges, SaleState
from holdfast_inventory.ports import Committed
from holdfast_inventory.postgres.batch import lock_sale
from holdfast_inventory.postgres.changes import read_changes, record_change, remember, was_made
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.history import History, settle
from holdfast_inventory.postgres.reports import Reports
from holdfast_inventory.postgres.reservation_lists import ReservationLists
from holdfast_inventory.postgres.schedule_store import ScheduleStore
from holdfast_inventory.postgres.statements import load
from holdfast_inventory.postgres.stocking import (
    advanced,
    change_item,
    database_now,
    insert_items,
    insert_sale,
    put_first_stock,
    require_sale,
)

SQL = load("catalog")

# A list of sales in one state reads until its page is full, but no more stretches than this.
_STRETCH_ROWS = 1000
_MOST_STRETCHES = 10


class SaleView(NamedTuple):
    """A sale, and its state when it was read. `replayed`: the change for which it was read had been made before."""

    sale: Sale
    state: SaleState
    replayed: bool = False


class Catalog(History, ReservationLists, ScheduleStore, Reports):
    """All reads and writes off the hot path: those of sales and items here, the others in the base classes.

    Every method raises `DatabaseUnavailable`, and methods that write raise `OutcomeUnknown`. Methods that take the id
    of a sale, an item, a reservation or a schedule raise `NotFound`.
    """

    def __init__(
        self, database: Database, on_commit: Callable[[Committed], None], *, entropy: Entropy = SYSTEM_ENTROPY
    ) -> None:
        """`on_commit` is called after each commit that changes stock."""
        History.__init__(self, database)
        ReservationLists.__init__(self, database)
        ScheduleStore.__init__(self, database, on_commit, entropy)
        Reports.__init__(self, database)

    async def create_sale(self, new: NewSale, cause: Cause = UNKNOWN_CAUSE) -> SaleView:
        """Create a sale with its items and their first stock. Raises `AlreadyExists` and `InvalidRequest`."""
        async with self._database.writing() as connection:
            sale = await insert_sale(connection, new, self._entropy.token_bytes(SALT_BYTES))
            if sale is None:
                raise AlreadyExists(f"sales/{new.sale_id}")
            commits = await put_first_stock(connection, sale, new.items, cause.actor)
            await record_change(connection, f"sales/{new.sale_id}", ChangeKind.CREATE, cause, differences(None, sale))
        self._tell(commits)
        return SaleView(advanced(sale, commits), sale.state_at(sale.created_at))

    async def get_sale(self, sale_id: str) -> SaleView:
        """Read a sale."""
        async with self._database.reading() as connection:
            row = await connection.fetchrow(SQL["get_sale"], sale_id)
        if row is None:
            raise NotFound(f"sales/{sale_id}")
        return _view(row)

    async def list_sales(
        self,
        page_size: int,
        after: str | None,
        state: SaleState | None,
        schedule_id: str | None,
        labels: Collection[str] = (),
    ) -> tuple[list[SaleView], str | None]:
        """Return a page of sales, newest first, and where the next begins. Before the end a page may be short."""
        statement = SQL["list_sales" if schedule_id is None else "list_sales_of_schedule"]
        filters = () if schedule_id is None else (schedule_id,)
        stretch = _STRETCH_ROWS if state or labels else page_size + 1
        page: list[SaleView] = []
        async with self._database.reading() as connection:
            for _ in range(_MOST_STRETCHES):
                rows = await connection.fetch(statement, after or "", stretch, *filters)
                for view in map(_view, rows):
                    if len(page) == page_size:
                        return page, page[-1].sale.sale_id
                    if state in {None, view.state} and has_labels(view.sale.labels, labels):
                        page.append(view)
                if len(rows) < stretch:
                    return page, None
                after = rows[-1]["sale_id"]
        return page, after

    async def update_sale(
        self,
        sale_id: str,
        changes: SaleChanges,
        cause: Cause = UNKNOWN_CAUSE,
        condition: Condition = UNCONDITIONAL,
    ) -> SaleView:
        """Change a sale's rules. Raises `InvalidRequest` if they contradict each other, and like `set_paused`."""
        return await self._rewrite(
            sale_id, ChangeKind.UPDATE, cause, condition, lambda sale, _: changes.applied_to(sale)
        )

    async def set_paused(
        self, sale_id: str, paused: bool, cause: Cause = UNKNOWN_CAUSE, condition: Condition = UNCONDITIONAL
    ) -> SaleView:
        """Pause or resume a sale. Raises `SaleChanged` and `RequestIdReused`."""
        kind = ChangeKind.PAUSE if paused else ChangeKind.RESUME
        return await self._rewrite(sale_id, kind, cause, condition, lambda sale, _: replace(sale, paused=paused))

    async def cancel_sale(
        self, sale_id: str, cause: Cause = UNKNOWN_CAUSE, condition: Condition = UNCONDITIONAL
    ) -> SaleView:
        """Cancel a sale. This is final. The next batches end its open holds. Raises like `set_paused`."""
        return await self._rewrite(
            sale_id,
            ChangeKind.CANCEL,
            cause,
            condition,
            lambda sale, now: replace(sale, cancelled_at=sale.cancelled_at or now),
        )

    async def delete_sale(self, sale_id: str, cause: Cause = UNKNOWN_CAUSE, etag: str = "") -> None:
        """Delete a sale without a history. Raises `SaleInUse` if it has one, and `SaleChanged`."""
        async with self._database.writing() as connection:
            sale = await lock_sale(connection, sale_id)
            _require_etag(sale, etag)
            if await connection.fetchval(SQL["is_in_use"], sale_id):
                raise SaleInUse
            await record_change(connection, f"sales/{sale_id}", ChangeKind.DELETE, cause)
            await connection.execute(SQL["delete_sale"], sale_id)

    async def update_item(
        self,
        sale_id: str,
        item_id: str,
        changes: ItemChanges,
        cause: Cause = UNKNOWN_CAUSE,
        condition: Condition = UNCONDITIONAL,
    ) -> tuple[Item, bool]:
        """Change an item. Return it, and whether this was done before.

        Raises like `decide_item_update`, and `RequestIdReused`.
        """
        async with self._database.writing() as connection:
            sale = await lock_sale(connection, sale_id)
            if await was_made(connection, sale_id, condition):
                return await _item(connection, sale_id, item_id), True
            before, after, commits = await change_item(connection, sale, item_id, changes, cause.actor)
            await remember(connection, sale_id, condition)
            if fields := item_differences(before, after):
                await record_change(connection, f"sales/{sale_id}", ChangeKind.UPDATE, cause, fields)
        self._tell(commits)
        return after, False

    async def create_items(self, sale_id: str, items: Sequence[NewItem], cause: Cause = UNKNOWN_CAUSE) -> list[Item]:
        """Add items to a sale, with their first stock: all, or none. Raises `AlreadyExists` for one that exists."""
        async with self._database.writing() as connection:
            sale = await lock_sale(connection, sale_id)
            created = await insert_items(connection, sale, items)
            for item in items:
                if item.item_id not in created:
                    raise AlreadyExists(f"sales/{sale_id}/items/{item.item_id}")
            commits = await put_first_stock(connection, sale, items, cause.actor)
            fields = [field for item in items for field in first_stock(item)]
            await record_change(connection, f"sales/{sale_id}", ChangeKind.CREATE_ITEM, cause, fields)
            rows = await connection.fetch(SQL["get_items"], sale_id, [item.item_id for item in items])
        self._tell(commits)
        return [Item(**row) for row in rows]

    async def create_item(self, sale_id: str, item: NewItem, cause: Cause = UNKNOWN_CAUSE) -> Item:
        """Add an item to a sale, with its first stock. Raises `AlreadyExists`."""
        [created] = await self.create_items(sale_id, [item], cause)
        return created

    async def list_changes(self, sale_id: str, after: int, limit: int) -> list[Change]:
        """Return up to `limit` changes of a sale's rules after a number, in order."""
        async with self._database.reading() as connection:
            changes = await read_changes(connection, f"sales/{sale_id}", after, limit)
            if not changes:
                await require_sale(connection, sale_id)
        return changes

    async def list_schedule_changes(self, schedule_id: str, after: int, limit: int) -> list[Change]:
        """Return up to `limit` changes of a schedule after a number, in order; also of one that was deleted."""
        async with self._database.reading() as connection:
            changes = await read_changes(connection, f"saleSchedules/{schedule_id}", after, limit)
        if not changes:
            await self.get_schedule(schedule_id)
        return changes

    async def get_item(self, sale_id: str, item_id: str) -> Item:
        """Read a stock level."""
        async with self._database.reading() as connection:
            return await _item(connection, sale_id, item_id)

    async def list_items(self, sale_id: str, page_size: int, after: str | None) -> tuple[list[Item], str | None]:
        """Return a page of a sale's stock levels by item, and where the next page begins."""
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["list_items"], sale_id, after or "", page_size + 1)
            if not rows:
                await require_sale(connection, sale_id)
        items = [Item(**row) for row in rows[:page_size]]
        return items, items[-1].item_id if len(rows) > page_size else None

    async def snapshot(self, sale_id: str) -> tuple[int, list[Item]]:
        """Return the sequence of a sale's last movement, and all stock levels after it, by item.

        They are durable, because watches send later changes relative to them.
        """
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["snapshot"], sale_id)
            await settle(connection)
        if not rows:
            raise NotFound(f"sales/{sale_id}")
        sequence: int = rows[0]["sequence"]
        levels = [dict(row) for row in rows if row["item_id"] is not None]
        for level in levels:
            del level["sequence"]
        return sequence, [Item(**level) for level in levels]

    async def sales_to_sweep(self, limit: int) -> tuple[list[str], float]:
        """Return the ids of sales with due holds, and of cancelled sales with open holds, the oldest hold first.

        And for how many seconds the oldest hold has been due.
        """
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["sales_to_sweep"], limit)
        lag = max((row["due_for"].total_seconds() for row in rows[:1]), default=0.0)
        return [row["sale_id"] for row in rows], max(lag, 0.0)

    async def database_now(self) -> datetime:
        """Return the time of the database's clock, which decides."""
        async with self._database.reading() as connection:
            return await database_now(connection)

    async def _rewrite(
        self,
        sale_id: str,
        kind: ChangeKind,
        cause: Cause,
        condition: Condition,
        change: Callable[[Sale, datetime], Sale],
    ) -> SaleView:
        async with self._database.writing() as connection:
            sale = await lock_sale(connection, sale_id)
            now = await database_now(connection)
            if await was_made(connection, sale_id, condition):
                return SaleView(sale, sale.state_at(now), replayed=True)
            _require_etag(sale, condition.etag)
            changed = change(sale, now)
            await remember(connection, sale_id, condition)
            if changed == sale:
                return SaleView(sale, sale.state_at(now))
            await record_change(connection, f"sales/{sale_id}", kind, cause, differences(sale, changed))
            return await _store_rules(connection, changed)


def _require_etag(sale: Sale, etag: str) -> None:
    if etag not in {"", sale.etag}:
        raise SaleChanged(sale.etag)


async def _item(connection: Connection, sale_id: str, item_id: str) -> Item:
    row = await connection.fetchrow(SQL["get_item"], sale_id, item_id)
    if row is None:
        raise NotFound(f"sales/{sale_id}/items/{item_id}")
    return Item(**row)


async def _store_rules(connection: Connection, sale: Sale) -> SaleView:
    [row] = await connection.fetch(
        SQL["store_rules"],
        sale.sale_id,
        sale.open_at,
        sale.close_at,
        sale.per_customer_limit,
        sale.hold_time,
        sale.max_hold_time,
        sale.paused,
        sale.cancelled_at,
        sale.shop_confirms,
        sale.admission_required,
        sale.early_access,
        sale.display_name,
        sale.labels,
    )
    return _view(row)


def _view(row: Row) -> SaleView:
    columns = dict(row)
    now = columns.pop("now")
    sale = Sale(**columns)
    return SaleView(sale, sale.state_at(now))
