"""Routes, derived from the `google.api.http` options of the protos: a new method needs no code here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from holdfast_chassis.contract import Binding, Method, method_of
from holdfast_gateway.paths import segments_of

DynamicMessage = Any
"""A message whose type is known only at run time."""

_VARIABLE = re.compile(r"\{([\w.]+)(?:=([^{}]*))?\}")
_HTTP_METHODS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Variable:
    """A field of the request that is part of the path: the joined segments `start` to `end`."""

    field_path: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Route:
    """One HTTP method and path template, and its RPC. Compared by identity."""

    http_method: str
    template: str
    segments: tuple[str, ...]
    verb: str
    variables: tuple[Variable, ...]
    body: str
    rpc: MethodDescriptor
    method: Method

    @cached_property
    def request_class(self) -> type[Message]:
        """The class of the RPC's requests."""
        return GetMessageClass(self.rpc.input_type)

    @cached_property
    def response_class(self) -> type[Message]:
        """The class of the RPC's responses."""
        return GetMessageClass(self.rpc.output_type)

    @cached_property
    def takes_request_id(self) -> bool:
        """Whether the RPC supports an Idempotency-Key."""
        return "request_id" in self.rpc.input_type.fields_by_name

    @cached_property
    def takes_admission_token(self) -> bool:
        """Whether the RPC supports a Holdfast-Admission header."""
        return "admission_token" in self.rpc.input_type.fields_by_name


def routes_of(services: Iterable[ServiceDescriptor]) -> list[Route]:
    """Return all routes of the services. Raises ValueError for an unsupported template."""
    return [
        _route(rpc, method, binding)
        for service in services
        for rpc in service.methods
        for method in (method_of(rpc),)
        for binding in method.bindings
    ]


def _route(rpc: MethodDescriptor, method: Method, binding: Binding) -> Route:
    if binding.http_method not in _HTTP_METHODS:
        raise ValueError(f"{rpc.full_name}: no HTTP method that is understood")
    segments, verb, variables = parse_template(binding.template)
    for variable in variables:
        field_at(rpc.input_type, variable.field_path)
    if binding.body not in ("", "*"):
        field_at(rpc.input_type, (binding.body,))
    return Route(binding.http_method.upper(), binding.template, segments, verb, variables, binding.body, rpc, method)


def parse_template(template: str) -> tuple[tuple[str, ...], str, tuple[Variable, ...]]:
    """Return the segments (`*` for any), the verb and the variables of `/v1/{name=sales/*}:verb`.

    Raises ValueError for one that is malformed or has `**`.
    """
    segments: list[str] = []
    variables: list[Variable] = []
    position, verb = 0, ""
    for match in _VARIABLE.finditer(template):
        segments += _literals(template[position : match.start()])
        inner = (match[2] or "*").split("/")
        variables.append(Variable(tuple(match[1].split(".")), len(segments), len(segments) + len(inner)))
        segments += inner
        position = match.end()
    rest, _, verb = template[position:].partition(":")
    segments += _literals(rest)
    if not template.startswith("/") or "**" in segments or any(set(s) & set("{}") for s in segments):
        raise ValueError(f"cannot route {template!r}")
    return tuple(segments), verb, tuple(variables)


def _literals(text: str) -> list[str]:
    return [segment for segment in text.split("/") if segment]


def field_at(message: Descriptor, path: tuple[str, ...]) -> FieldDescriptor:
    """Return the field at a path of names. Raises ValueError if there is none."""
    found: FieldDescriptor | None = None
    for name in path:
        found = message.fields_by_name.get(name)
        if found is None:
            raise ValueError(f"{message.full_name} has no field {name!r}")
        message = found.message_type or message
    if found is None:
        raise ValueError("an empty path leads to no field")
    return found


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    # By verb, then by HTTP method.
    routes: dict[str, dict[str, Route]] = field(default_factory=dict)


class RouteTable:
    """A tree that finds the routes of a path, by segments; a literal has precedence over a wildcard."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        self.routes = tuple(routes)
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.segments:
            node = node.children.setdefault(segment, _Node())
        by_method = node.routes.setdefault(route.verb, {})
        if route.http_method in by_method:
            raise ValueError(f"two methods for {route.http_method} {route.template}")
        by_method[route.http_method] = route

    def find(self, path: str) -> tuple[dict[str, Route], list[str]] | None:
        """Return the routes at `path` by HTTP method, and its segments without the verb; None: no such path.

        Raises ProblemError if the path can be read in two ways.
        """
        segments = segments_of(path)
        if not segments:
            return None
        last, _, verb = segments[-1].partition(":")
        segments[-1] = last
        node = self._root
        for segment in segments:
            child = node.children.get(segment) or (node.children.get("*") if segment else None)
            if child is None:
                return None
            node = child
        by_method = node.routes.get(verb)
        return (by_method, segments) if by_method else None
