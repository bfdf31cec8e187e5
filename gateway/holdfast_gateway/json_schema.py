"""JSON Schemas of the messages, as protobuf's JSON mapping writes them."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from holdfast_gateway.field_behavior import behaves
from holdfast_gateway.json_faults import INT32, INT64

Schema = dict[str, Any]

_INT32_RANGE = {"minimum": -(2**31), "maximum": 2**31 - 1}
_OF_MESSAGE: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$", "examples": ["120s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["openTime,holdTime"]},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
}


class Schemas:
    """Collects the schemas of messages and enums under their short names, as they are referred to."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments
        self.components: dict[str, Schema] = {}

    def reference(self, message: Descriptor) -> Schema:
        """Return a reference to the schema of a message."""
        if message.full_name in _OF_MESSAGE:
            return dict(_OF_MESSAGE[message.full_name])
        return self._component(message, lambda: self.object(message))

    def _component(self, described: Descriptor | EnumDescriptor, make: Callable[[], Schema]) -> Schema:
        name = described.full_name.removeprefix(described.file.package + ".")
        if name not in self.components:
            self.components[name] = {}  # it may refer to itself
            self.components[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}

    def object(self, message: Descriptor, *, without: Collection[str] = ()) -> Schema:
        """Return the schema of a message, less the fields that are given elsewhere."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Schema = {
            "type": "object",
            "properties": {field.json_name: self.field(field) for field in fields},
            "additionalProperties": False,
        }
        required = [field.json_name for field in fields if behaves(field, "REQUIRED")]
        if required:
            schema["required"] = required
        return self._described(schema, message.full_name)

    def field(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field's values, with its description."""
        one = self._value(field)
        schema: Schema = {"type": "array", "items": one} if field.is_repeated else one
        if behaves(field, "OUTPUT_ONLY"):
            schema["readOnly"] = True
        return self._described(schema, field.full_name)

    def comment(self, full_name: str) -> str:
        """Return what the protos say of something."""
        return self._comments.get(full_name, "")

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.reference(field.message_type)
        enum = field.enum_type
        if enum is not None:
            return self._component(enum, lambda: self._enum(enum))
        if field.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type in INT32:
            return {"type": "integer", "format": "int32", **_INT32_RANGE}
        if field.type in INT64:
            return {"type": "string", "format": "int64", "pattern": r"^-?\d{1,19}$"}
        return {"type": "string"}

    def _enum(self, enum: EnumDescriptor) -> Schema:
        values = [f"- `{value.name}`: {self.comment(_value_name(enum, value.name))}" for value in enum.values]
        described = "\n".join([self.comment(enum.full_name), "", *values])
        return {"type": "string", "enum": [value.name for value in enum.values], "description": described}

    def _described(self, schema: Schema, full_name: str) -> Schema:
        text = self.comment(full_name)
        return {**schema, "description": text} if text else schema


def _value_name(enum: EnumDescriptor, value: str) -> str:
    return f"{enum.full_name}.{value}"
