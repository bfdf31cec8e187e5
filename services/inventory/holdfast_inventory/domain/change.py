"""A change of a sale's rules or of a schedule: who made it, when, and what it changed."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from holdfast_inventory.domain.sale import NewItem, Sale

_FIELDS: Mapping[str, str] = {
    "open_time": "open_at",
    "close_time": "close_at",
    "per_customer_limit": "per_customer_limit",
    "hold_time": "hold_time",
    "max_hold_time": "max_hold_time",
    "paused": "paused",
    "cancel_time": "cancelled_at",
    "shop_confirms": "shop_confirms",
    "admission_required": "admission_required",
    "early_access": "early_access",
}
"""The fields of a sale that change, by their names in the contract."""


class Cause(NamedTuple):
    """The caller that makes a change, and its X-Request-Id. Both are empty if they are not known."""

    actor: str = ""
    request_id: str = ""


UNKNOWN_CAUSE = Cause()


class ChangeKind(Enum):
    """The kind of a change."""

    CREATE = 1
    UPDATE = 2
    PAUSE = 3
    RESUME = 4
    CANCEL = 5
    CREATE_ITEM = 6
    DELETE = 7


class FieldChange(NamedTuple):
    """A field, and its value before and after the change, as text; empty if it is not set."""

    field: str
    old_value: str
    new_value: str


class Change(NamedTuple):
    """A change of a resource. `number` counts its changes from 1."""

    number: int
    kind: ChangeKind
    cause: Cause
    fields: tuple[FieldChange, ...]
    created_at: datetime


def differences(before: Sale | None, after: Sale) -> tuple[FieldChange, ...]:
    """Return the fields of a sale that differ; `before` is None for a new sale."""
    return tuple(_differences(before, after))


def _differences(before: Sale | None, after: Sale) -> Iterator[FieldChange]:
    for field, attribute in _FIELDS.items():
        old = "" if before is None else _text(getattr(before, attribute))
        new = _text(getattr(after, attribute))
        if old != new:
            yield FieldChange(field, old, new)


def first_stock(item: NewItem) -> tuple[FieldChange, ...]:
    """Return the fields of a new item."""
    return (
        FieldChange("item", "", item.item_id),
        FieldChange("on_hand", "", str(item.on_hand)),
        FieldChange("per_customer_limit", "", str(item.per_customer_limit)),
    )


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case timedelta():
            return f"{value.total_seconds():.15g}s"
    return str(value)
