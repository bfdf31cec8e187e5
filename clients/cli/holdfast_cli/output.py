"""What is printed: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from enum import StrEnum
from itertools import islice
from typing import Any, Final, Literal

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from holdfast.inventory.v1.reservation_service_pb2 import Line


class Format(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"


# The columns of tables, where not all fields are shown. `name` is the resource's full name, which commands accept.
_COLUMNS: Final = {
    "Sale": ("name", "state", "open_time", "close_time", "per_customer_limit", "hold_time", "schedule"),
    "Item": ("item", "available", "held", "sold", "on_hand", "per_customer_limit"),
    "Reservation": ("name", "customer", "state", "lines", "returned_lines", "order", "create_time", "expire_time"),
    "SaleChange": ("create_time", "kind", "actor", "fields"),
    "Movement": ("sequence", "kind", "item", "on_hand_delta", "held_delta", "sold_delta", "reason", "actor"),
    "Webhook": ("name", "url", "kinds", "sale", "schedule", "paused"),
}
_HEADINGS: Final = {"per_customer_limit": "limit", "open_time": "opens", "close_time": "closes", "hold_time": "hold"}
_RIGHT: Final = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64}
# A zero in these says something; elsewhere it means that there is none.
_ZERO_COUNTS: Final = {"available", "held", "sold", "on_hand", "sequence", "delivered_sequence"}


def show_one(console: Console, form: Format, message: Message) -> None:
    """Print a message: each field that is set."""
    if form is Format.JSON:
        console.print_json(json.dumps(as_json(message)))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for field in message.DESCRIPTOR.fields:
        if text := _text(message, field):
            table.add_row(field.name.replace("_", " "), text)
    console.print(table)


def show_all(console: Console, form: Format, messages: Iterable[Message], limit: int) -> None:
    """Print a list, at most `limit` entries (0: all), and say if there are more."""
    entries = iter(messages)
    shown = entries if limit == 0 else islice(entries, limit)
    if form is Format.JSON:
        print_array(as_json(each) for each in shown)
        return
    found = list(shown)
    if not found:
        console.print("none", style="dim")
        return
    console.print(table_of(found))
    if next(entries, None) is not None:
        console.print(f"… the first {limit}; --limit 0 shows all", style="dim")


def print_array(documents: Iterable[object]) -> None:
    """Print a JSON array as its entries come: there may be millions."""
    separator = "["
    for document in documents:
        sys.stdout.write(f"{separator}\n  {json.dumps(document)}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def table_of(messages: Sequence[Message]) -> Table:
    """Return a table with a row for each message of one kind; columns that all leave empty are left out."""
    descriptor = messages[0].DESCRIPTOR
    names = _COLUMNS.get(descriptor.name, [field.name for field in descriptor.fields])
    fields = [descriptor.fields_by_name[name] for name in names if name in descriptor.fields_by_name]
    columns = {field: [_text(message, field) for message in messages] for field in fields}
    table = Table(box=None, pad_edge=False, header_style="bold")
    filled = {field: cells for field, cells in columns.items() if any(cells)}
    for field in filled:
        justify: Literal["right", "left"] = "right" if field.type in _RIGHT else "left"
        # What is copied into the next command stays in one piece.
        table.add_column(
            _HEADINGS.get(field.name, field.name.replace("_", " ")),
            justify=justify,
            no_wrap=field.name == "name",
            overflow="fold",
        )
    for row in zip(*filled.values(), strict=True):
        table.add_row(*row)
    return table


def as_json(message: Message) -> dict[str, Any]:
    """Return the contract's JSON, as over REST."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def _text(message: Message, field: Any) -> str:  # noqa: ANN401 - two kinds of descriptors
    value = getattr(message, field.name)
    if field.is_repeated:
        return ", ".join(_one(each, field) for each in value)
    if field.message_type is not None and not message.HasField(field.name):
        return ""
    if value in (0, "", False) and not (field.name in _ZERO_COUNTS and value == 0):
        return ""
    return _one(value, field)


def _one(value: Any, field: Any) -> str:  # noqa: ANN401 - of any field
    if isinstance(value, Timestamp):
        return value.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, Duration):
        return "".join(_parts(value.seconds)) or "0s"
    if isinstance(value, Line):
        return f"{value.quantity} {value.item}"
    if isinstance(value, Message):
        return ", ".join(f"{each.name}={_one(part, each)}" for each, part in value.ListFields())
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name) if value in field.enum_type.values_by_number else ""
    return "yes" if value is True else str(value)


def _parts(seconds: int) -> Iterator[str]:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            yield f"{count}{unit}"
