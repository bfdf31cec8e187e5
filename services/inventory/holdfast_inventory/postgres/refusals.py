"""What only the database can refuse in the caller's words: every other rule is the domain's, and checked before."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest


@contextmanager
def closed_before_it_opens_as_refusal() -> Iterator[None]:
    """Turn it into `InvalidRequest`: a sale that opens at once does so by the database's clock."""
    try:
        yield
    except asyncpg.CheckViolationError as error:
        if error.constraint_name != "sales_window_check":
            raise
        raise InvalidRequest((FieldViolation("sale.close_time", "must be after open_time"),)) from error
