"""JSON Schemas of the messages, by protobuf's JSON mapping and the fields' rules. See ADR 23.

A message has one schema for requests and one for answers. The former lists every allowed field and forbids others; the
latter lists the fields that are always present and allows others, so that a new field breaks no client.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast_chassis.field_rules import FieldRules, rules_of
from holdfast_gateway.field_behavior import behaves, is_map, map_value
from holdfast_gateway.json_faults import INT32, INT64
from holdfast_gateway.problems import json_words

Schema = dict[str, Any]

_INT32_RANGE = (-(2**31), 2**31 - 1)
_FRACTION = r"(\.[0-9]{1,9})?"
_OF_MESSAGE: Mapping[str, Schema] = {
    Timestamp.DESCRIPTOR.full_name: {"type": "string", "format": "date-time"},
    Duration.DESCRIPTOR.full_name: {"type": "string", "pattern": f"^-?[0-9]+{_FRACTION}s$"},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["openTime,holdTime"]},
    "google.protobuf.Empty": {"type": "object"},
    # Represented like every other refusal over REST.
    "google.rpc.Status": {"$ref": "#/components/schemas/Problem"},
}
_BELONGS_TO_REQUESTS = ("Request", "Command")


class Schemas:
    """The schemas of messages and enums that are referred to."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments
        self.components: dict[str, Schema] = {}

    def answer(self, message: Descriptor) -> Schema:
        """Return a reference to the schema of a message in answers."""
        return _Answers(self).reference(message)

    def request(self, message: Descriptor, name: str, *, without: Collection[str] = ()) -> Schema:
        """Return a reference to the named schema of a message in requests, without fields that are sent elsewhere."""
        sent = _Requests(self)
        return self.component(name, lambda: sent.object(message, without))

    def sent(self, field: FieldDescriptor) -> Schema:
        """Return the schema of a field in requests."""
        return _Requests(self).field(field)

    def component(self, name: str, make: Callable[[], Schema]) -> Schema:
        """Return a reference to a schema by its name. The schema is created if it does not exist."""
        if name not in self.components:
            self.components[name] = {}  # it may refer to itself
            self.components[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}

    def enum(self, enum: EnumDescriptor, name: str, excluded: Collection[int] = ()) -> Schema:
        """Return a reference to the named schema of an enum without some of its numbers."""
        values = [value.name for value in enum.values if value.number not in excluded]
        described = [f"- `{value}`: {self.comment(f'{enum.full_name}.{value}')}" for value in values]
        text = "\n".join([self.comment(enum.full_name), "", *described])
        return self.component(name, lambda: {"type": "string", "enum": values, "description": text})

    def comment(self, full_name: str) -> str:
        """Return the protos' comment of an element, with the JSON names of fields."""
        return json_words(self._comments.get(full_name, ""))

    def described(self, schema: Schema, full_name: str) -> Schema:
        """Return the schema with the protos' comment."""
        text = self.comment(full_name)
        return {**schema, "description": text} if text else schema


class _Schemas:
    """Return the part that both schemas have in common."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def reference(self, message: Descriptor) -> Schema:
        if message.full_name in _OF_MESSAGE:
            return dict(_OF_MESSAGE[message.full_name])
        return self._schemas.component(self._component_name(message), lambda: self.object(message))

    def object(self, message: Descriptor, without: Collection[str] = ()) -> Schema:
        """Return the schema of a message. A message with a oneof becomes alternatives."""
        shared = [f for f in message.fields if f.name not in without and not _is_choice(f)]
        choices = [oneof for oneof in message.oneofs if any(map(_is_choice, oneof.fields))]
        if not choices:
            return self._schemas.described(self._plain(shared), message.full_name)
        return self._schemas.described({"oneOf": self._variants(message, choices[0], shared)}, message.full_name)

    def _variants(self, message: Descriptor, oneof: OneofDescriptor, shared: list[FieldDescriptor]) -> list[Schema]:
        name = self._component_name(message)

        def variant(field: FieldDescriptor) -> Schema:
            plain = self._plain([field, *shared])
            plain["required"] = sorted({field.json_name, *plain.get("required", ())})
            return self._schemas.described(plain, field.full_name)

        return [
            self._schemas.component(f"{name}Of{_capitalised(field.json_name)}", partial(variant, field))
            for field in oneof.fields
        ]

    def field(self, field: FieldDescriptor) -> Schema:
        one = self._value(map_value(field) if is_map(field) else field)
        if is_map(field):
            schema: Schema = {"type": "object", "additionalProperties": one}
        else:
            schema = {"type": "array", "items": one} if field.is_repeated else one
        if behaves(field, "OUTPUT_ONLY"):
            schema["readOnly"] = True
        return self._schemas.described(schema, field.full_name)

    def _value(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            return self._schemas.enum(field.enum_type, _name(field.enum_type))
        if field.type == FieldDescriptor.TYPE_BOOL:
            return {"type": "boolean"}
        if field.type in INT32:
            return {"type": "integer", "format": "int32"}
        if field.type in INT64:
            return {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
        return {"type": "string"}

    def _component_name(self, message: Descriptor) -> str:
        raise NotImplementedError

    def _plain(self, fields: list[FieldDescriptor]) -> Schema:
        raise NotImplementedError


class _Answers(_Schemas):
    def _component_name(self, message: Descriptor) -> str:
        return _name(message)

    def _plain(self, fields: list[FieldDescriptor]) -> Schema:
        told = [field for field in fields if not behaves(field, "INPUT_ONLY")]
        required = [field.json_name for field in told if not field.has_presence]
        schema: Schema = {"type": "object", "properties": {field.json_name: self.field(field) for field in told}}
        return {**schema, "required": required} if required else schema


class _Requests(_Schemas):
    def _component_name(self, message: Descriptor) -> str:
        name = _name(message)
        return name if name.endswith(_BELONGS_TO_REQUESTS) else f"{name}Input"

    def _plain(self, fields: list[FieldDescriptor]) -> Schema:
        schema: Schema = {
            "type": "object",
            "properties": {field.json_name: self.field(field) for field in fields},
            "additionalProperties": False,
        }
        required = [field.json_name for field in fields if behaves(field, "REQUIRED")]
        return {**schema, "required": required} if required else schema

    def field(self, field: FieldDescriptor) -> Schema:
        schema = super().field(field)
        rules = rules_of(field)
        if is_map(field):
            return {**schema, **_of_map(rules.map)}
        if field.is_repeated:
            return {**schema, "items": {**schema["items"], **_of_text(rules.repeated.items.string)}, **_of_list(rules)}
        return {**schema, **_of_rules(field, rules)}

    def _value(self, field: FieldDescriptor) -> Schema:
        rules = rules_of(field).repeated.items if field.is_repeated else rules_of(field)
        if field.enum_type is not None and (excluded := rules.enum.not_in):
            return self._schemas.enum(field.enum_type, f"{_name(field.enum_type)}Input", excluded)
        return super()._value(field)


def _of_list(rules: FieldRules) -> Schema:
    schema: Schema = {}
    if rules.repeated.HasField("min_items"):
        schema["minItems"] = rules.repeated.min_items
    if rules.repeated.HasField("max_items"):
        schema["maxItems"] = rules.repeated.max_items
    return schema


def _of_map(rules: FieldRules) -> Schema:
    return {
        "maxProperties": rules.max_pairs,
        "propertyNames": _of_text(rules.keys.string),
        "additionalProperties": {"type": "string", **_of_text(rules.values.string)},
    }


def _of_rules(field: FieldDescriptor, rules: FieldRules) -> Schema:
    """Return the schema's part from the rules of a single value."""
    if field.message_type is not None:
        return _OF_TIMES[field.message_type.full_name](rules) if field.message_type.full_name in _OF_TIMES else {}
    if field.type == FieldDescriptor.TYPE_STRING:
        return _of_text(rules.string)
    if field.type in INT32:
        return _of_number(rules.int32)
    return {"pattern": "^[0-9]{1,18}$"} if rules.int64.HasField("gte") else {}


def _of_text(rules: FieldRules) -> Schema:
    schema: Schema = {}
    for keyword, name in (("minLength", "min_len"), ("maxLength", "max_len"), ("pattern", "pattern")):
        if rules.HasField(name):
            schema[keyword] = getattr(rules, name)
    return {**schema, "examples": list(rules.example)} if rules.example else schema


def _of_number(rules: FieldRules) -> Schema:
    low, high = _INT32_RANGE
    schema: Schema = {
        "minimum": rules.gte if rules.HasField("gte") else low,
        "maximum": rules.lte if rules.HasField("lte") else high,
    }
    if rules.not_in:
        schema["not"] = {"enum": list(rules.not_in)}
    return {**schema, "examples": list(rules.example)} if rules.example else schema


def _of_duration(rules: FieldRules) -> Schema:
    bounds, schema = rules.duration, {}
    if bounds.HasField("lte"):
        low = 0 if bounds.gte.seconds == 0 and bounds.gte.nanos == 0 else max(1, bounds.gte.seconds)
        schema["pattern"] = f"^({pattern_of_range(low, bounds.lte.seconds - 1)}{_FRACTION}|{bounds.lte.seconds})s$"
    return {**schema, "examples": [each.ToJsonString() for each in bounds.example]} if bounds.example else schema


def _of_timestamp(rules: FieldRules) -> Schema:
    examples = [each.ToJsonString() for each in rules.timestamp.example]
    return {"examples": examples} if examples else {}


_OF_TIMES = {Duration.DESCRIPTOR.full_name: _of_duration, Timestamp.DESCRIPTOR.full_name: _of_timestamp}


def pattern_of_range(low: int, high: int) -> str:
    """Return a pattern for exactly the whole numbers from `low` to `high`, both not negative."""
    parts: list[str] = []
    while low <= high:
        # As many numbers at once as share the first digits of `low`.
        nines = _nines(low, high)
        parts.append(_same_length(low, nines))
        low = nines + 1
    return f"({'|'.join(parts)})"


def _nines(low: int, high: int) -> int:
    """Return the last number up to `high` that one pattern of digit ranges can cover from `low`."""
    power = 1
    while low % (power * 10) == 0 and low + power * 10 - 1 <= high and power * 10 <= max(low, 1):
        power *= 10
    first_digit = low // power % 10
    steps = min(9 - first_digit, (high - low + 1) // power - 1)
    return low + (steps + 1) * power - 1


def _same_length(low: int, high: int) -> str:
    digits = zip(str(low), str(high), strict=True)
    return "".join(first if first == last else f"[{first}-{last}]" for first, last in digits)


def example_of(schema: Schema, components: Mapping[str, Schema]) -> Any:  # noqa: ANN401 - JSON is anything
    """Return a value for the schema, from its examples; None if it has none."""
    if "$ref" in schema and "examples" not in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if "examples" in schema:
        return schema["examples"][0]
    if "oneOf" in schema:
        return example_of(schema["oneOf"][0], components)
    if schema.get("type") == "array":
        return [one] if (one := example_of(schema["items"], components)) is not None else None
    if schema.get("type") == "string" and "enum" in schema:
        return next(value for value in schema["enum"] if not value.endswith("UNSPECIFIED"))
    members = {
        name: value
        for name, each in schema.get("properties", {}).items()
        if not each.get("readOnly") and (value := example_of(each, components)) is not None
    }
    return members or None


def _is_choice(field: FieldDescriptor) -> bool:
    """Return whether the field excludes others. The synthetic oneof of an `optional` field does not count."""
    return field.containing_oneof is not None and len(field.containing_oneof.fields) > 1


def _name(described: Descriptor | EnumDescriptor) -> str:
    """Return a name without dots, because generators derive names from it: `WatchStockResponseSnapshot`."""
    return described.full_name.removeprefix(f"{described.file.package}.").replace(".", "")


def _capitalised(name: str) -> str:
    return name[:1].upper() + name[1:]
