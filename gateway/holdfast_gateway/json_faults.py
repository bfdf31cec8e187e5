"""Names the invalid field of a JSON document, and says what is expected.

It is stricter than json_format, which accepts a list as an empty object, true, 1.5 or "1" as the enum value 1, the
second of two spellings of a field, and every number of Python: digits of any script, `1_0`, ` 1`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_gateway.field_behavior import is_map

Json = Any
"""A parsed JSON value."""

INT32 = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32}
INT64 = {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_SFIXED64}

# The form of texts for which json_format accepts more.
FORMS: Mapping[str, re.Pattern[str]] = {
    Duration.DESCRIPTOR.full_name: re.compile(r"-?\d+(\.\d{1,9})?s", re.ASCII),
    Timestamp.DESCRIPTOR.full_name: re.compile(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
    ),
}
_WHOLE_NUMBER = re.compile(r"-?\d+", re.ASCII)
_EXACT_IN_FLOATS = 2**53

_Fault = tuple[str, str]


def fault_in(document: Json, descriptor: Descriptor, path: str = "") -> _Fault | None:
    """Return the first invalid field, and what is expected."""
    fields = {name: field for field in descriptor.fields for name in (field.json_name, field.name)}
    given: set[int] = set()
    chosen: set[str] = set()
    for key, value in document.items():
        where = f"{path}.{key}".removeprefix(".")
        field = fields.get(key)
        if field is None:
            return where, "there is no such field"
        if field.number in given:
            return where, "must not appear twice, under either of its names"
        given.add(field.number)
        if field.containing_oneof is not None and value is not None:
            if field.containing_oneof.name in chosen:
                return where, "excludes another field that is given"
            chosen.add(field.containing_oneof.name)
        fault = _fault_of_field(descriptor, field, value, where)
        if fault:
            return fault
    return None


def _fault_of_field(owner: Descriptor, field: FieldDescriptor, value: Json, where: str) -> _Fault | None:
    if is_map(field):
        return _fault_of_map(value, where)
    if not field.is_repeated or type(value) is not list:
        return _fault_of_value(owner, field, value, where, alone=True)
    faults = (_fault_of_value(owner, field, one, f"{where}[{i}]", alone=False) for i, one in enumerate(value))
    return next(filter(None, faults), None)


def _fault_of_map(value: Json, where: str) -> _Fault | None:
    if value is None:
        return None
    if type(value) is not dict:
        return where, "must be an object of strings"
    wrong = next((key for key, each in value.items() if type(each) is not str), None)
    return None if wrong is None else (f"{where}.{wrong}", "must be a string")


def _fault_of_value(
    owner: Descriptor, field: FieldDescriptor, value: Json, where: str, *, alone: bool
) -> _Fault | None:
    descriptor = field.message_type
    nested = type(value) is dict and not (field.is_repeated and alone)
    if nested and descriptor is not None and descriptor.file.package != "google.protobuf":
        return fault_in(value, descriptor, where)
    if _is_taken_for_another(field, value):
        return where, f"must be {_expected(field, alone=alone)}"
    container = GetMessageClass(owner)()
    try:
        json_format.ParseDict({field.name: value if alone else [value]}, container)
    except json_format.ParseError:
        return where, f"must be {_expected(field, alone=alone)}"
    return None


def _is_taken_for_another(field: FieldDescriptor, value: Json) -> bool:
    if field.enum_type is not None:
        return type(value) in (bool, float) or (type(value) is str and value not in field.enum_type.values_by_name)
    if field.message_type is not None:
        form = FORMS.get(field.message_type.full_name)
        return type(value) is list or (form is not None and type(value) is str and not form.fullmatch(value))
    if field.type in INT32 | INT64:
        return not _is_whole_number(value)
    return False


def _is_whole_number(value: Json) -> bool:
    if type(value) is str:
        return _WHOLE_NUMBER.fullmatch(value) is not None
    # Larger numbers may have been rounded by a parser.
    return type(value) is not float or abs(value) < _EXACT_IN_FLOATS


@dataclass(frozen=True)
class _Words:
    one: str
    many: str


_EXPECTED_OF_TYPE = {
    FieldDescriptor.TYPE_STRING: _Words("a string", "strings"),
    FieldDescriptor.TYPE_BOOL: _Words("true or false", "true or false"),
    **dict.fromkeys(INT32, _Words("a whole number of at most 32 bits", "whole numbers of at most 32 bits")),
    **dict.fromkeys(INT64, _Words("a whole number of at most 64 bits", "whole numbers of at most 64 bits")),
}
_EXPECTED_OF_MESSAGE = {
    Timestamp.DESCRIPTOR.full_name: _Words("a time such as 2026-01-31T12:00:00Z", "times"),
    Duration.DESCRIPTOR.full_name: _Words("a duration in seconds such as 120s", "durations"),
    FieldMask.DESCRIPTOR.full_name: _Words("field names with commas between them", "field masks"),
}


def _expected(field: FieldDescriptor, *, alone: bool) -> str:
    if field.enum_type is not None:
        names = ", ".join(value.name for value in field.enum_type.values if value.number)
        words = _Words(f"one of {names}", f"of {names}")
    elif field.message_type is not None:
        words = _EXPECTED_OF_MESSAGE.get(field.message_type.full_name, _Words("an object", "objects"))
    else:
        words = _EXPECTED_OF_TYPE.get(field.type, _Words("valid", "values"))
    return f"a list of {words.many}" if field.is_repeated and alone else words.one
