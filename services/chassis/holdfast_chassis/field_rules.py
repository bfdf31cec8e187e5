"""The rules of single fields: protovalidate's annotations (buf.validate) in the protos."""

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2

FieldRules = Any
"""A buf.validate.FieldRules."""


def rules_of(field: FieldDescriptor) -> FieldRules:
    """Return the rules of a field; rules that it does not have are unset."""
    return field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[attr-defined]


def rules_at(message: Descriptor, name: str) -> FieldRules:
    """Return the rules of a message's field. Raises KeyError if the field does not exist."""
    return rules_of(message.fields_by_name[name])
