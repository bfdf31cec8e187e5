"""Named constraints as refusals: what the database will not store, in the caller's words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import asyncpg

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest

_VIOLATIONS: Mapping[str, FieldViolation] = {
    "sales_window_check": FieldViolation("sale.close_time", "must be after open_time"),
    "sales_per_customer_limit_check": FieldViolation("sale.per_customer_limit", "must not be negative"),
    "sales_hold_time_check": FieldViolation("sale.hold_time", "must be above 0 and at most max_hold_time"),
    "items_per_customer_limit_check": FieldViolation("item.per_customer_limit", "must not be negative"),
    "schedules_period_check": FieldViolation("sale_schedule.period", "must be at least 60 s"),
    "schedules_open_duration_check": FieldViolation(
        "sale_schedule.open_duration", "must be above 0 and at most the period"
    ),
}


@contextmanager
def constraints_as_refusals() -> Iterator[None]:
    """Turns a violation of a rule that callers can break into `InvalidRequest`; any other passes as it is."""
    try:
        yield
    except asyncpg.CheckViolationError as error:
        violation = _VIOLATIONS.get(error.constraint_name or "")
        if violation is None:
            raise
        raise InvalidRequest((violation,)) from error
