"""The lists of the tables' columns, each written once. Statements refer to a list by its name; see `statements`.

Values are sent and received as one array per column. Arrays of arrays must be rectangular, but reservations differ in
their number of lines. So an array in a column is sent as text, its elements separated by commas, which no id contains.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

SALE = {
    "sale_id": "text",
    "open_at": "timestamptz",
    "close_at": "timestamptz",
    "per_customer_limit": "integer",
    "hold_time": "interval",
    "max_hold_time": "interval",
    "paused": "boolean",
    "cancelled_at": "timestamptz",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "schedule_id": "text",
    "sequence": "bigint",
    "salt": "bytea",
    "limits_customers": "boolean",
    "shop_confirms": "boolean",
    "admission_required": "boolean",
    "early_access": "interval",
    "display_name": "text",
    "labels": "text",
}
ITEM = {
    "item_id": "text",
    "on_hand": "integer",
    "held": "integer",
    "sold": "integer",
    "per_customer_limit": "integer",
    "version": "bigint",
    "display_name": "text",
    "labels": "text",
}
RESERVATION = {
    "reservation_id": "uuid",
    "customer": "text",
    "item_ids": "text[]",
    "quantities": "integer[]",
    "returned": "integer[]",
    "state": "smallint",
    "created_at": "timestamptz",
    "expires_at": "timestamptz",
    "ended_at": "timestamptz",
    "order_id": "text",
    "fingerprint": "bytea",
    "notes": "text",
}
USE = {"customer": "text", "item_id": "text", "units": "integer"}
HOLD = {column: RESERVATION[column] for column in ("item_ids", "expires_at")}
STOCK_CHANGE = {"change_id": "uuid", "fingerprint": "bytea", "created_at": "timestamptz"}
LEDGER = {
    "kinds": "smallint",
    "item_ids": "text",
    "on_hand_deltas": "integer",
    "held_deltas": "integer",
    "sold_deltas": "integer",
    "reservation_ids": "uuid",
    "reasons": "smallint",
    "actors": "text",
}
"""The columns of a batch's movements: each holds arrays, with this type of elements."""
SCHEDULE = dict.fromkeys((
    "schedule_id", "period", "open_duration", "per_customer_limit", "hold_time", "max_hold_time", "item_ids",
    "on_hands", "item_per_customer_limits", "source_sale_id", "remainder", "shop_confirms", "admission_required",
    "early_access", "cron", "time_zone", "excluded_dates", "opening_offset", "start_at", "end_at", "lead_time",
    "paused", "created_at", "updated_at", "revision",
), "")  # fmt: skip
WEBHOOK = dict.fromkeys((
    "webhook_id", "url", "kinds", "sale_id", "schedule_id", "paused", "secret", "old_secret", "old_secret_until",
    "created_at", "updated_at",
), "")  # fmt: skip
DELIVERY = dict.fromkeys((
    "webhook_id", "sale_id", "position", "sent", "through", "attempts", "failure", "failing_since", "parked_at",
    "due_at",
), "")  # fmt: skip

LISTS: Mapping[str, Mapping[str, str]] = {
    "sale": SALE,
    "item": ITEM,
    "reservation": RESERVATION,
    "use": USE,
    "hold": HOLD,
    "stock_change": STOCK_CHANGE,
    "ledger": LEDGER,
    "schedule": SCHEDULE,
    "webhook": WEBHOOK,
    "delivery": DELIVERY,
}


class Row(Protocol):
    """A row of a result."""

    def keys(self) -> Iterable[str]:
        """Return the columns' names."""

    def __getitem__(self, column: str, /) -> Any: ...  # noqa: ANN401 -- what the column's type says


def parameter_type(column_type: str) -> str:
    """Return the type of the array in which a column's values are sent to the server."""
    return "text[]" if column_type.endswith("[]") else f"{column_type}[]"


def from_text(column: str, column_type: str) -> str:
    """Return SQL that converts a column from its sent form to its stored form."""
    if not column_type.endswith("[]"):
        return column
    elements = f"string_to_array({column}, ',')"
    return elements if column_type == "text[]" else f"{elements}::{column_type}"


def to_text(column: str, column_type: str) -> str:
    """Return SQL that converts a column from its stored form to its sent form."""
    return f"array_to_string({column}, ',')" if column_type.endswith("[]") else column


def arrays(group: str, columns: Iterable[str], rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the arrays of `rows` for a statement's parameters `:group.list`, with the parameters' names."""
    values = zip(*rows, strict=True) if rows else repeat(())
    return zip((f"{group}.{column}" for column in columns), values, strict=False)


def rows(record: Row, group: str, columns: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Return the rows that a statement returned as `{group.list[]}`."""
    return zip(*(record[f"{group}.{column}"] or () for column in columns), strict=True)
