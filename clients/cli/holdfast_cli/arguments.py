"""What people type: names, times, durations, units. A wrong value is refused with an example of a right one."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Final, Protocol, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1.reservation_service_pb2 import Line
from holdfast.inventory.v1.sale_pb2 import Item
from holdfast_chassis.clock import SYSTEM_CLOCK

_UNITS_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
V_co = TypeVar("V_co", bound=int, covariant=True)
_ITEM = re.compile(r"(?P<item>[^=]+)=(?P<units>[0-9]{1,10})(:(?P<limit>[0-9]{1,10}))?")


def _name(collection: str) -> "typer.models.ArgumentInfo":
    def parse(text: str) -> str:
        return text if text.startswith(f"{collection}/") else f"{collection}/{text}"

    singular = {"sales": "SALE", "saleSchedules": "SCHEDULE", "webhooks": "WEBHOOK", "customers": "CUSTOMER"}[
        collection
    ]
    info: typer.models.ArgumentInfo = typer.Argument(
        parser=parse, metavar=singular, help=f"Its id, or its name {collection}/ID."
    )
    return info


def item_of(sale: str, item: str) -> str:
    """Return the name of an item of a sale."""
    return f"{sale}/items/{item}"


class Enum(Protocol[V_co]):
    """An enum of the contract."""

    def items(self) -> Iterable[tuple[str, int]]:
        """Return its names and numbers."""

    def Value(self, name: str) -> V_co:  # noqa: N802 - protobuf's name for it
        """Return the value of a name."""


def choices(enum: Enum[int]) -> str:
    """Return the names of an enum's values as people type them, for help and refusals."""
    return ", ".join(name.lower() for name, number in enum.items() if number)


def parse_choice(enum: Enum[V_co], text: str) -> V_co:
    """Return the value of that name. Raises BadParameter."""
    name = text.upper()
    if dict(enum.items()).get(name, 0) == 0:
        raise typer.BadParameter(f"{text!r} is not one of {choices(enum)}")
    return enum.Value(name)


def parse_duration(text: str) -> Duration:
    """Return a duration such as `90s`, `2m` or `1h30m`. Raises BadParameter."""
    parts = re.findall(r"([0-9]{1,9})([dhms])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise typer.BadParameter(f"{text!r} is not a duration, such as 90s, 2m or 1h30m")
    return Duration(seconds=sum(int(number) * _UNITS_SECONDS[unit] for number, unit in parts))


def parse_time(text: str) -> Timestamp:
    """Return a time: `now`, `+10m`, or as in ISO 8601; without an offset in the time zone of this machine.

    Raises BadParameter.
    """
    timestamp = Timestamp()
    timestamp.FromDatetime(_time(text))
    return timestamp


def _time(text: str) -> datetime:
    now = SYSTEM_CLOCK.now()
    if text == "now":
        return now
    if text.startswith("+"):
        return now + timedelta(seconds=parse_duration(text[1:]).seconds)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time, such as 2026-12-04T10:00, now or +10m") from None


def parse_item(text: str) -> Item:
    """Return an item with its first stock: `ITEM=UNITS` or `ITEM=UNITS:LIMIT`. Raises BadParameter."""
    match = _ITEM.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not ITEM=UNITS or ITEM=UNITS:LIMIT, such as sneaker-42=50 or cap=100:2")
    return Item(item=match["item"], on_hand=_int32(match["units"]), per_customer_limit=_int32(match["limit"] or "0"))


def _int32(digits: str) -> int:
    number = int(digits)
    if number > 2**31 - 1:
        raise typer.BadParameter(f"{digits} is too large")
    return number


def parse_line(text: str) -> Line:
    """Return units of an item: `ITEM` or `ITEM=UNITS`. Raises BadParameter."""
    item = parse_item(text if "=" in text else f"{text}=1")
    return Line(item=item.item, quantity=item.on_hand)


def parse_reservation(text: str) -> str:
    """Return the name of a reservation. Raises BadParameter."""
    if not re.fullmatch(r"sales/[^/]+/reservations/[^/]+", text):
        raise typer.BadParameter(
            f"{text!r} is not sales/SALE/reservations/ID; `holdfast reservation find` prints these names"
        )
    return text


# What several commands share.

Sale = Annotated[str, _name("sales")]
Schedule = Annotated[str, _name("saleSchedules")]
Webhook = Annotated[str, _name("webhooks")]
Reservation = Annotated[
    str, typer.Argument(parser=parse_reservation, metavar="RESERVATION", help="Its name: sales/SALE/reservations/ID.")
]
ItemId = Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="The most entries; 0: all.")]
RequestId = Annotated[
    str,
    typer.Option(
        "--request-id",
        metavar="ID",
        help="Do it once for this id, however often the command is run. Default: a new one.",
    ),
]
