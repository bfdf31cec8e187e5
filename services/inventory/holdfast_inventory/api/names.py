"""Resource names: how sales, items, reservations and schedules are called on the wire."""

import re
from uuid import UUID

_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
# In either case on its way in, as RFC 9562 has it; it is written in lower case.
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

match_id = re.compile(_ID).fullmatch
match_sale = re.compile(f"sales/({_ID})").fullmatch
match_item = re.compile(f"sales/({_ID})/items/({_ID})").fullmatch
match_reservation = re.compile(f"sales/({_ID})/reservations/({_UUID})").fullmatch
# Short enough for the ids of the sales that it opens, which end in `-YYYYMMDDtHHMMSSz`.
match_schedule_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,45}").fullmatch
match_schedule = re.compile(r"saleSchedules/([A-Za-z0-9][A-Za-z0-9._-]{0,45})").fullmatch


def sale_name(sale_id: str) -> str:
    """Return the name of a sale."""
    return f"sales/{sale_id}"


def item_name(sale_id: str, item_id: str) -> str:
    """Return the name of an item."""
    return f"sales/{sale_id}/items/{item_id}"


def reservation_name(sale_id: str, reservation_id: UUID) -> str:
    """Return the name of a reservation; its id is written as a lower-case UUID."""
    return f"sales/{sale_id}/reservations/{reservation_id}"


def schedule_name(schedule_id: str) -> str:
    """Return the name of a schedule."""
    return f"saleSchedules/{schedule_id}"
