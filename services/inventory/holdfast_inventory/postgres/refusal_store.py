"""The store of refused creates."""

from collections.abc import Sequence
from datetime import timedelta

from holdfast_inventory.domain.refusal import CustomerRefusal, RefusalCount
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Database
from holdfast_inventory.postgres.statements import load
from holdfast_inventory.postgres.stocking import require_sale

SQL = load("refusals")

_DELETED_AT_ONCE = 1_000


class RefusalStore:
    """Reads and writes refusals. The methods raise `DatabaseUnavailable`, those that write also `OutcomeUnknown`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, counts: Sequence[RefusalCount], customers: Sequence[CustomerRefusal]) -> None:
        """Add refusals to those that are stored, except those of sales that do not exist."""
        async with self._database.writing() as connection:
            if counts:
                await connection.execute(SQL["add_refusal_counts"], *map(list, zip(*counts, strict=True)))
            if customers:
                *columns, lines = map(list, zip(*customers, strict=True))
                item_ids = [",".join(line.item_id for line in each) for each in lines]
                quantities = [",".join(str(line.quantity) for line in each) for each in lines]
                await connection.execute(SQL["add_customer_refusals"], *columns, item_ids, quantities)

    async def list_customer_refusals(self, sale_id: str, customer: str) -> list[CustomerRefusal]:
        """Return the refusals of a customer in a sale, the latest first. Raises `NotFound` for a sale."""
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["list_customer_refusals"], customer, sale_id)
            if not rows:
                await require_sale(connection, sale_id)
        return [customer_refusal(row) for row in rows]

    async def delete_old(self, counts_kept_for: timedelta, customers_kept_for: timedelta) -> bool:
        """Delete what is older. Return whether there may be more."""
        async with self._database.writing() as connection:
            deleted = [
                await connection.fetchval(SQL["delete_old_refusal_counts"], counts_kept_for, _DELETED_AT_ONCE),
                await connection.fetchval(SQL["delete_old_customer_refusals"], customers_kept_for, _DELETED_AT_ONCE),
            ]
        return _DELETED_AT_ONCE in deleted


def customer_refusal(row: Row) -> CustomerRefusal:
    """Return a customer's refusals for one reason from their row."""
    columns = dict(row)
    lines = tuple(map(Line, columns.pop("item_ids"), columns.pop("quantities")))
    return CustomerRefusal(**columns, lines=lines)
