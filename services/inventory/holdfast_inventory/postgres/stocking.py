"""Creates sales and items and gives them stock, in the caller's transaction.

Stock changes here as on the hot path: under the sale's lock, as movements of its ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from holdfast_inventory.domain.change import item_differences
from holdfast_inventory.domain.decide import Decision, decide_draw, decide_first_stock, decide_item_update
from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.item import Item, ItemChanges
from holdfast_inventory.domain.sale import NewItem, NewSale, Sale
from holdfast_inventory.ports import Committed
from holdfast_inventory.postgres.batch import Snapshot, append, lock_sale, read
from holdfast_inventory.postgres.database import Connection
from holdfast_inventory.postgres.refusals import closed_before_it_opens_as_refusal
from holdfast_inventory.postgres.statements import load

SQL = load("stocking")

_DUE_HOLDS = 1000


async def insert_sale(connection: Connection, new: NewSale, salt: bytes) -> Sale | None:
    """Insert a sale and its items, without stock. Return None if the sale exists already.

    The sale is locked, because no other transaction can see it yet. Raises `InvalidRequest`.
    """
    with closed_before_it_opens_as_refusal():
        row = await connection.fetchrow(
            SQL["insert_sale"],
            new.sale_id,
            new.open_at,
            new.close_at,
            new.per_customer_limit,
            new.hold_time,
            new.max_hold_time,
            new.schedule_id,
            salt,
            new.per_customer_limit > 0 or any(item.per_customer_limit > 0 for item in new.items),
            new.shop_confirms,
            new.admission_required,
            new.early_access,
            new.display_name,
            new.labels,
        )
    if row is None:
        return None
    sale = Sale(**row)
    await insert_items(connection, sale, new.items)
    return sale


async def insert_items(connection: Connection, sale: Sale, items: Sequence[NewItem]) -> set[str]:
    """Insert items without stock into a locked sale. Return the ids of those that did not exist before."""
    rows = await connection.fetch(
        SQL["insert_items"],
        sale.sale_id,
        [item.item_id for item in items],
        [item.per_customer_limit for item in items],
        [item.display_name for item in items],
        [item.labels for item in items],
    )
    return {row["item_id"] for row in rows}


async def put_first_stock(connection: Connection, sale: Sale, items: Iterable[NewItem], actor: str) -> list[Committed]:
    """Append the first units of new items in a locked sale. Return the commits to announce."""
    units = {item.item_id: item.on_hand for item in items}
    snapshot = await read(connection, sale.sale_id, [], _DUE_HOLDS, units=dict.fromkeys(units, 0))
    return await _append(connection, snapshot, decide_first_stock(snapshot.state, units, actor))


async def change_item(
    connection: Connection, sale: Sale, item_id: str, changes: ItemChanges, actor: str
) -> tuple[Item, Item, list[Committed]]:
    """Change an item in a locked sale. Return it before and after, and the commits to announce.

    Raises like `decide_item_update`.
    """
    snapshot = await read(connection, sale.sale_id, [], _DUE_HOLDS, units={item_id: 0})
    after, decision = decide_item_update(snapshot.state, item_id, changes, actor)
    before = snapshot.state.items[item_id]
    commits = await _append(connection, snapshot, decision)
    if item_differences(before, after):
        rules = after.per_customer_limit, after.display_name, after.labels
        await connection.execute(SQL["set_item_rules"], sale.sale_id, item_id, *rules)
    return before, after, commits


async def draw(
    connection: Connection, source: Sale, destination: Sale, most: Mapping[str, int], actor: str
) -> list[Committed]:
    """Move available units, up to `most` of each item, between two locked sales. Return the commits to announce."""
    giving = await read(connection, source.sale_id, [], _DUE_HOLDS, units=dict.fromkeys(most, 0))
    taking = await read(connection, destination.sale_id, [], _DUE_HOLDS, units=dict.fromkeys(most, 0))
    taken, given = decide_draw(giving.state, taking.state, most, actor)
    return [*await _append(connection, giving, taken), *await _append(connection, taking, given)]


async def lock_sales(connection: Connection, sale_ids: Iterable[str]) -> dict[str, Sale]:
    """Lock several sales, in the order of their ids, to avoid deadlocks. Raises `NotFound`."""
    return {sale_id: await lock_sale(connection, sale_id) for sale_id in sorted(set(sale_ids))}


async def require_sale(connection: Connection, sale_id: str) -> None:
    """Raise `NotFound` if the sale does not exist."""
    if not await connection.fetchval(SQL["has_sale"], sale_id):
        raise NotFound(f"sales/{sale_id}")


async def database_now(connection: Connection) -> datetime:
    """Return the time of the database's clock, which decides."""
    now: datetime = await connection.fetchval(SQL["database_now"])
    return now


def advanced(sale: Sale, commits: Iterable[Committed]) -> Sale:
    """Return the sale after these commits."""
    own = [commit.sequence for commit in commits if commit.sale_id == sale.sale_id]
    return replace(sale, sequence=max(own, default=sale.sequence))


async def _append(connection: Connection, snapshot: Snapshot, decision: Decision) -> list[Committed]:
    if decision.is_empty:
        return []
    await append(connection, snapshot, decision)
    sale = snapshot.state.sale
    return [Committed(sale.sale_id, sale.sequence, decision.sequence, decision.items)]
