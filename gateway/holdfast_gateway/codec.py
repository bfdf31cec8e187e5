"""A codec for protobuf's JSON mapping, compiled from the descriptors at first use. See ADR 8.

It has the same results as json_format (a property test checks that) and is several times as fast. Unexpected input is
handed to json_format, which decides: it costs time, but its meaning is the same. Some input that json_format accepts
is refused (see json_faults).
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeVar, cast

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc.status_pb2 import Status

from holdfast_gateway.field_behavior import behaves, is_map, map_value
from holdfast_gateway.json_faults import FORMS, INT32, INT64, Json, fault_in
from holdfast_gateway.problems import problem_of_status, refuse_field

M = TypeVar("M", bound=Message)
Convert = Callable[[Any], Any]


class _UnexpectedError(Exception):
    """The input is not handled by the compiled codec."""


def decode(document: Json, message_class: type[M]) -> M:
    """Return a message from parsed JSON. Raises ProblemError that names the invalid field."""
    try:
        return message_class(**_reader(message_class.DESCRIPTOR)(document))
    except (_UnexpectedError, TypeError, ValueError):
        return _decode_slowly(document, message_class())


def encode(message: Message) -> Json:
    """Return the message as a JSON document. Fields without presence are always included.

    An empty input-only field is left out, so that a sale does not appear to have no items.
    """
    return _writer(message.DESCRIPTOR)(message)


def _encode_slowly(message: Message) -> Json:
    return json_format.MessageToDict(message, always_print_fields_with_no_presence=True)


def _decode_slowly(document: Json, message: M) -> M:
    if type(document) is not dict:
        refuse_field("body", "must be a JSON object")
    try:
        fault = fault_in(document, cast("Descriptor", message.DESCRIPTOR))
        if fault is None:
            json_format.ParseDict(document, message)
    except json_format.ParseError:
        fault = "body", "does not fit"
    except RecursionError:
        fault = "body", "is nested too deeply"
    if fault is not None:
        refuse_field(*fault)
    return message


# --- reading ---------------------------------------------------------------------------------------------------------


@cache
def _reader(descriptor: Descriptor) -> Convert:
    """Return a function from a JSON object to the arguments of the message's constructor."""
    fields: dict[str, tuple[str, str, Convert]] = {}

    def read(document: Json) -> dict[str, Json]:
        if type(document) is not dict:
            raise _UnexpectedError
        arguments: dict[str, Json] = {}
        seen = set()
        for key, value in document.items():
            try:
                name, exclusive, convert = fields[key]
            except KeyError:
                raise _UnexpectedError from None
            if exclusive in seen:
                raise _UnexpectedError
            seen.add(exclusive)
            arguments[name] = convert(value)
        return arguments

    # A type may contain itself, so its fields are compiled when they are first read.
    for field in descriptor.fields:
        exclusive = field.containing_oneof.name if field.containing_oneof else field.name
        fields[field.json_name] = fields[field.name] = (field.name, exclusive, _field_reader(field))
    return read


def _field_reader(field: FieldDescriptor) -> Convert:
    if is_map(field):
        return _texts if _is_text(map_value(field)) else _never
    one = _value_reader(field)
    if not field.is_repeated:
        return one

    def many(values: Json) -> list[Json]:
        if type(values) is not list:
            raise _UnexpectedError
        return [one(value) for value in values]

    return many


def _value_reader(field: FieldDescriptor) -> Convert:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _exactly(str)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return _exactly(bool)
    if field.type in INT32 | INT64:
        return _whole_number(31 if field.type in INT32 else 63)
    if field.enum_type is not None:
        return _one_of({value.name: value.number for value in field.enum_type.values})
    if field.message_type is not None:
        return _message_reader(field.message_type)
    return _never


def _message_reader(descriptor: Descriptor) -> Convert:
    if descriptor.full_name in _FROM_TEXT:
        return _FROM_TEXT[descriptor.full_name]
    if descriptor.file.package == "google.protobuf":
        return _never
    return lambda value: _reader(descriptor)(value)  # noqa: PLW0108 - a type may contain itself


def _texts(value: Json) -> dict[str, str]:
    if type(value) is not dict or not all(type(each) is str for each in value.values()):
        raise _UnexpectedError
    return value


def _is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING


def _never(_: Json) -> Json:
    raise _UnexpectedError


def _exactly(kind: type) -> Convert:
    def read(value: Json) -> Json:
        if type(value) is not kind:
            raise _UnexpectedError
        return value

    return read


def _whole_number(bits: int) -> Convert:
    low, high = -(1 << bits), (1 << bits) - 1

    def read(value: Json) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _UnexpectedError
        return value

    return read


def _one_of(numbers: dict[str, int]) -> Convert:
    def read(value: Json) -> int:
        if type(value) is not str or value not in numbers:
            raise _UnexpectedError
        return numbers[value]

    return read


def _from_text(message_class: type[Timestamp] | type[Duration] | type[FieldMask]) -> Convert:
    form = FORMS.get(message_class.DESCRIPTOR.full_name)

    def read(value: Json) -> Message:
        if type(value) is not str or (form is not None and not form.fullmatch(value)):
            raise _UnexpectedError
        message = message_class()
        try:
            message.FromJsonString(value)
        except ValueError:
            raise _UnexpectedError from None
        return message

    return read


_FROM_TEXT = {kind.DESCRIPTOR.full_name: _from_text(kind) for kind in (Timestamp, Duration, FieldMask)}


# --- writing ---------------------------------------------------------------------------------------------------------


@cache
def _writer(descriptor: Descriptor) -> Callable[[Json], Json]:
    if descriptor.full_name in _TO_JSON:
        return _TO_JSON[descriptor.full_name]
    if descriptor.file.package == "google.protobuf" or not all(map(_writes_plainly, descriptor.fields)):
        return _encode_slowly
    fields = [
        (f.json_name, f.name, f.has_presence, behaves(f, "INPUT_ONLY"), _field_writer(f)) for f in descriptor.fields
    ]

    def write(message: Message) -> dict[str, Json]:
        document = {}
        for json_name, name, has_presence, input_only, convert in fields:
            if has_presence and not message.HasField(name):
                continue
            value = getattr(message, name)
            if input_only and not value:
                continue
            document[json_name] = value if convert is None else convert(value)
        return document

    return write


def _writes_plainly(field: FieldDescriptor) -> bool:
    plain = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL} | INT32 | INT64
    if is_map(field):
        return _is_text(map_value(field))
    return field.message_type is not None or field.type in plain or field.enum_type is not None


def _field_writer(field: FieldDescriptor) -> Convert | None:
    if is_map(field):
        return dict
    one = _value_writer(field)
    if not field.is_repeated:
        return one
    if one is None:
        return list
    return lambda values: [one(value) for value in values]


def _value_writer(field: FieldDescriptor) -> Convert | None:
    if field.type in INT64:
        return str
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, number)
    if field.message_type is not None:
        descriptor = field.message_type
        return lambda value: _writer(descriptor)(value)  # noqa: PLW0108 - as above
    return None


# The replies of a batch share most of their times, so caching them helps.
@lru_cache(maxsize=4096)
def _time_text(seconds: int, nanos: int) -> str:
    return Timestamp(seconds=seconds, nanos=nanos).ToJsonString()


_TO_JSON: dict[str, Convert] = {
    # In an outcome: a refusal has the same form everywhere.
    Status.DESCRIPTOR.full_name: lambda status: problem_of_status(status, changes_nothing=False).document(),
    Timestamp.DESCRIPTOR.full_name: lambda time: _time_text(time.seconds, time.nanos),
    Duration.DESCRIPTOR.full_name: Duration.ToJsonString,
    FieldMask.DESCRIPTOR.full_name: FieldMask.ToJsonString,
}
