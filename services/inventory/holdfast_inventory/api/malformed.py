"""Finds the field that makes a request undecodable, because the decoder does not report it."""

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from holdfast_inventory.domain.errors import FieldViolation

_MAX_DEPTH = 8
_LENGTH_DELIMITED = 2


def fault_in(raw: bytes, message: Descriptor) -> FieldViolation:
    """Return the field of `message` that makes `raw` undecodable; without a name if the whole message is malformed."""
    return _fault(raw, message, "", _MAX_DEPTH) or FieldViolation("", _rule(message))


def _fault(raw: bytes, message: Descriptor, path: str, depth: int) -> FieldViolation | None:
    # In an empty message every field is unknown, and is kept as it was sent.
    known_to_nobody = Empty()
    try:
        known_to_nobody.ParseFromString(raw)
    except DecodeError:
        return FieldViolation(path, _rule(message))
    seen: dict[int, int] = {}
    for unknown in _unknown_fields(known_to_nobody):
        field = message.fields_by_number.get(unknown.field_number)
        if field is None or unknown.wire_type != _LENGTH_DELIMITED:
            continue
        index = seen[field.number] = seen.get(field.number, -1) + 1
        name = f"{path}.{field.name}" if path else field.name
        if field.is_repeated:
            name = f"{name}[{index}]"
        fault = _value_fault(unknown.data, field, name, depth)
        if fault is not None:
            return fault
    return None


def _value_fault(data: bytes, field: FieldDescriptor, name: str, depth: int) -> FieldViolation | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        try:
            data.decode()
        except UnicodeDecodeError:
            return FieldViolation(name, "must be UTF-8 text")
    if field.message_type is not None and depth:
        return _fault(data, field.message_type, name, depth - 1)
    return None


def _unknown_fields(message: Message) -> Iterator[Any]:
    fields = UnknownFieldSet(message)
    return (fields[index] for index in range(len(fields)))


def _rule(message: Descriptor) -> str:
    return f"must be a {message.full_name} in protobuf's encoding"
