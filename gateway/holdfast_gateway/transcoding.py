"""Converts the parts of an HTTP request (path, query, body) to the RPC's request message."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from holdfast_gateway import codec, json_text, rows
from holdfast_gateway.field_behavior import behaves
from holdfast_gateway.media_types import JSON
from holdfast_gateway.problems import INVALID_REQUEST, refuse, refuse_field
from holdfast_gateway.routes import Route, Variable, field_at

_QUERY_LIMIT_FIELDS = 100
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_UNDERSCORE = re.compile(r"_([a-z0-9])")
_UPDATE_MASK = "update_mask"
_UPDATE_MASK_JSON = "updateMask"


@dataclass(frozen=True, slots=True)
class _PathField:
    parents: tuple[str, ...]
    key: str
    start: int
    end: int


class Transcoder:
    """A converter to the request messages of one route."""

    def __init__(self, route: Route) -> None:
        self._message_class = route.request_class
        self._descriptor = route.rpc.input_type
        self._path_fields = [_path_field(self._descriptor, variable) for variable in route.variables]
        self._body = route.body
        self._body_key = field_at(self._descriptor, (route.body,)).json_name if route.body not in ("", "*") else ""
        self._bound = {variable.field_path for variable in route.variables}
        self._rows = rows.rows_in(route)
        self._derives_mask = route.body not in ("", "*") and _has_mask(self._descriptor)

    @property
    def understood(self) -> tuple[str, ...]:
        """The media types of the body, the usual one first."""
        return (JSON,) if self._rows is None else (JSON, rows.JSON_LINES, rows.CSV)

    def request(self, segments: Sequence[str], query: str, body: bytes, media_type: str = JSON) -> Message:
        """Return the message. Raises ProblemError (INVALID_REQUEST) that names the invalid part."""
        if self._rows is not None and media_type != JSON:
            document: dict[str, Any] = {self._rows.json_name: rows.parsed(body, self._rows, media_type)}
        else:
            document = self._document(body)
        if query:
            self._add_query(document, query)
        if self._derives_mask:
            self._add_mask(document)
        for path_field in self._path_fields:
            _bind(document, path_field, "/".join(segments[path_field.start : path_field.end]))
        return codec.decode(document, self._message_class)

    def _document(self, body: bytes) -> dict[str, Any]:
        if not body or not self._body:
            return {}
        parsed = json_text.parse(body, self._body_key)
        if type(parsed) is not dict:
            refuse_field("body", "must be a JSON object")
        return parsed if self._body == "*" else {self._body_key: parsed}

    def _add_query(self, document: dict[str, Any], query: str) -> None:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_QUERY_LIMIT_FIELDS, errors="strict")
        except ValueError as error:
            refuse(INVALID_REQUEST, f"The query cannot be read: {error}")
        for name, text in pairs:
            parents, field = self._query_field(name)
            target = document
            for parent in parents:
                target = target.setdefault(parent.json_name, {})
            if field.is_repeated:
                target.setdefault(field.json_name, []).append(_query_value(field, text))
            elif field.json_name in target:
                refuse_field(name, "may be given only once")
            else:
                target[field.json_name] = _query_value(field, text)

    def _query_field(self, name: str) -> tuple[Sequence[FieldDescriptor], FieldDescriptor]:
        path: list[FieldDescriptor] = []
        message: Descriptor | None = self._descriptor
        field: FieldDescriptor | None = None
        for part in name.split("."):
            field = _by_either_name(message, part) if message is not None else None
            if field is None or (field.is_repeated and field.message_type is not None):
                refuse_field(name, "there is no such parameter")
            path.append(field)
            message = field.message_type
        found = tuple(each.name for each in path)
        taken = self._body == "*" or found[0] == self._body or found in self._bound
        if field is None or taken or not _fits_in_query(field):
            refuse_field(name, "there is no such parameter")
        return path[:-1], field

    def _add_mask(self, document: dict[str, Any]) -> None:
        """Set the default mask of an update: the fields in the body, without output-only fields."""
        changes = document.get(self._body_key)
        if document.get(_UPDATE_MASK_JSON) or type(changes) is not dict:
            return
        resource = field_at(self._descriptor, (self._body,)).message_type
        fields = [_by_either_name(resource, key) for key in changes] if resource is not None else []
        document[_UPDATE_MASK_JSON] = ",".join(f.json_name for f in fields if f is not None and not _is_told(f))


def _has_mask(descriptor: Descriptor) -> bool:
    field = descriptor.fields_by_name.get(_UPDATE_MASK)
    return field is not None and field.message_type is FieldMask.DESCRIPTOR


def _is_told(field: FieldDescriptor) -> bool:
    return behaves(field, "OUTPUT_ONLY") or behaves(field, "IDENTIFIER")


def _by_either_name(message: Descriptor, name: str) -> FieldDescriptor | None:
    found = message.fields_by_name.get(name)
    return found or next((field for field in message.fields if field.json_name == name), None)


def _fits_in_query(field: FieldDescriptor) -> bool:
    return field.message_type is None or field.message_type.file.package == "google.protobuf"


def _query_value(field: FieldDescriptor, text: str) -> str | int | bool:
    """Convert text to the JSON type of its field. Text that does not match stays text, and is refused later."""
    if field.message_type is FieldMask.DESCRIPTOR:
        # Query parameters, and the fields in a mask, may also have their proto names.
        return _UNDERSCORE.sub(lambda match: match[1].upper(), text)
    if field.type == FieldDescriptor.TYPE_STRING or field.message_type is not None:
        return text
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"true": True, "false": False}.get(text, text)
    return int(text) if _INTEGER.fullmatch(text) else text


def _path_field(descriptor: Descriptor, variable: Variable) -> _PathField:
    path = variable.field_path
    # By their names in JSON, as the body has them.
    *parents, key = (field_at(descriptor, path[: length + 1]).json_name for length in range(len(path)))
    return _PathField(tuple(parents), key, variable.start, variable.end)


def _bind(document: dict[str, Any], path_field: _PathField, value: str) -> None:
    target: Any = document
    for parent in path_field.parents:
        target = target.setdefault(parent, {})
        if type(target) is not dict:
            return
    if target.setdefault(path_field.key, value) != value:
        path = ".".join((*path_field.parents, path_field.key))
        refuse_field(path, "differs from the path")
