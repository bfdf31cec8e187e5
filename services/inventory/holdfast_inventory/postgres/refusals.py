"""Constraint violations that become refusals. All other rules are checked in the domain before."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest


@contextmanager
def closed_before_it_opens_as_refusal() -> Iterator[None]:
    """Convert the constraint violation to `InvalidRequest`. A sale that opens at once uses the database's clock."""
    try:
        yield
    except asyncpg.CheckViolationError as error:
        if error.constraint_name != "sales_window_check":
            raise
        raise InvalidRequest((FieldViolation("sale.close_time", "must be after open_time"),)) from error
