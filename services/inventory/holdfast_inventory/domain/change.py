"""A change of a sale's rules, of a schedule or of a webhook: who made it, when, and what it changed."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import NewItem, Sale
from holdfast_inventory.domain.schedule import Schedule
from holdfast_inventory.domain.webhook import Target

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
    "display_name": "display_name",
    "labels": "labels",
}
"""The fields of a sale that change, by their names in the contract."""

_SCHEDULE_FIELDS: Mapping[str, str] = {
    "offset": "offset",
    "open_duration": "open_duration",
    "start_time": "start_at",
    "end_time": "end_at",
    "lead_time": "lead_time",
    "paused": "paused",
    "source_sale": "source_sale_id",
    "remainder": "remainder",
    "template.per_customer_limit": "per_customer_limit",
    "template.hold_time": "hold_time",
    "template.max_hold_time": "max_hold_time",
    "template.shop_confirms": "shop_confirms",
    "template.admission_required": "admission_required",
    "template.early_access": "early_access",
}
"""The same for a schedule, without its recurrence and its items."""


class Cause(NamedTuple):
    """The caller that makes a change, and its X-Request-Id. Both are empty if they are not known."""

    actor: str = ""
    request_id: str = ""


UNKNOWN_CAUSE = Cause()


class Condition(NamedTuple):
    """When a change is made: once for `change_id`, and only while the sale has this etag. Neither is necessary.

    `fingerprint` is that of the request, as for a command.
    """

    change_id: UUID | None = None
    fingerprint: bytes = b""
    etag: str = ""


UNCONDITIONAL = Condition()


class ChangeKind(Enum):
    """The kind of a change."""

    CREATE = 1
    UPDATE = 2
    PAUSE = 3
    RESUME = 4
    CANCEL = 5
    CREATE_ITEM = 6
    DELETE = 7
    RUN = 8
    ERASE = 9


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


def differences(before: Sale | Schedule | Target | None, after: Sale | Schedule | Target) -> tuple[FieldChange, ...]:
    """Return the fields of a sale, a schedule or a webhook that differ; `before` is None for a new one."""
    old = {} if before is None else _values(before)
    new = _values(after)
    changes = (FieldChange(field, old.get(field, ""), new.get(field, "")) for field in new | old)
    return tuple(change for change in changes if change.old_value != change.new_value)


def _values(known: Sale | Schedule | Target) -> dict[str, str]:
    if isinstance(known, Sale):
        return {field: _text(getattr(known, attribute)) for field, attribute in _FIELDS.items()}
    if isinstance(known, Target):
        kinds = ", ".join(sorted(kind.name for kind in known.kinds))
        return {"url": known.url, "kinds": kinds, "sale": known.sale_id or "", "schedule": known.schedule_id or ""}
    return {
        **_recurrence(known),
        **{field: _text(getattr(known, attribute)) for field, attribute in _SCHEDULE_FIELDS.items()},
        **{f"template.items.{item.item_id}.on_hand": str(item.on_hand) for item in known.items},
        **{f"template.items.{item.item_id}.per_customer_limit": str(item.per_customer_limit) for item in known.items},
    }


def _recurrence(schedule: Schedule) -> dict[str, str]:
    recurrence = schedule.recurrence
    if isinstance(recurrence, Calendar):
        excluded = ", ".join(day.isoformat() for day in recurrence.excluded_dates)
        return {
            "calendar.cron": recurrence.cron,
            "calendar.time_zone": recurrence.time_zone,
            "calendar.exclude_dates": excluded,
        }
    return {"period": _text(recurrence.length)}


def item_differences(before: Item, after: Item) -> tuple[FieldChange, ...]:
    """Return the rules of an item that differ. Its stock has its own record."""
    names = ("per_customer_limit", "display_name", "labels")
    values = ((name, str(getattr(before, name)), str(getattr(after, name))) for name in names)
    return tuple(FieldChange(f"items/{after.item_id}.{name}", old, new) for name, old, new in values if old != new)


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
        case Enum():
            return value.name
        case timedelta():
            return f"{value.total_seconds():.15g}s"
    return str(value)
