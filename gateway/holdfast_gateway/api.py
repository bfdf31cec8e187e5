"""The API: translates an HTTP request to the RPC of its route, and the response back."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from holdfast_chassis.alarms import Alarms
from holdfast_chassis.concurrency import ConcurrencyLimit
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.principal import Principal
from holdfast_gateway import codec, rows, sse
from holdfast_gateway.access import Access
from holdfast_gateway.admission import set_admission_token
from holdfast_gateway.call import Call, Reply
from holdfast_gateway.coalescer import Coalescer, command_field
from holdfast_gateway.cors import Cors
from holdfast_gateway.exchange import Headers, address_of, timeout_of
from holdfast_gateway.idempotency import key_of, set_request_id
from holdfast_gateway.interruption import WhileWaiting
from holdfast_gateway.inventory_client import InventoryClient, Metadata
from holdfast_gateway.media_types import JSON, acceptable, content_type
from holdfast_gateway.problems import DEADLINE_IN_QUEUE, DRAINING, METHOD_NOT_ALLOWED, NOT_FOUND, OVERLOADED, refuse
from holdfast_gateway.rates import Rates
from holdfast_gateway.request_body import read_body
from holdfast_gateway.routes import DynamicMessage, Route, RouteTable
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.transcoding import Transcoder
from holdfast_gateway.watch import Watch

_JSON_TYPE = ("content-type", JSON)
_REPLAYED = ("idempotent-replayed", "true")
_SALES_AT = 1
# The server leaves the body out by itself.
_SAME_AS = {"HEAD": "GET"}


@dataclass(frozen=True, slots=True)
class _Endpoint:
    route: Route
    transcoder: Transcoder
    access: Access
    # The field of a Command for its requests, if there is one.
    command_field: str | None
    # Whether it changes a sale that the path names.
    changes_sale: bool
    # The entries of its answer, if it is a list.
    entries: FieldDescriptor | None
    # The media types of its answer, the usual one first.
    offered: tuple[str, ...]


class Api:
    """The handler of the protos' routes."""

    def __init__(
        self,
        routes: Sequence[Route],
        inventory: InventoryClient,
        coalescer: Coalescer,
        cors: Cors,
        settings: GatewaySettings,
        alarms: Alarms,
        entropy: Entropy = SYSTEM_ENTROPY,
        authenticator: Authenticator | None = None,
        rates: Rates | None = None,
    ) -> None:
        self._table = RouteTable(routes)
        self._endpoints = {
            route: _Endpoint(
                route,
                Transcoder(route),
                Access(authenticator, route),
                command_field(route),
                _changes_sale(route),
                entries,
                _offered(route, entries),
            )
            for route in routes
            for entries in (rows.rows_of(route.rpc.output_type),)
        }
        self._concurrency = ConcurrencyLimit(settings.call_limit)
        self._inventory = inventory
        self._coalescer = coalescer
        self._rates = rates
        self._cors = cors
        self._settings = settings
        self._entropy = entropy
        self._alarms = alarms
        self._stream_limits = sse.StreamLimits(
            settings.stream_heartbeat_seconds, settings.stream_retry_seconds, settings.stream_limit_bytes
        )
        self.streams_ending = asyncio.Event()

    async def answer(self, call: Call, headers: Headers) -> Reply | None:
        """Return the reply, or None if it was streamed; a stream gets `headers`. Raises ProblemError."""
        found = self._table.find(call.scope.path)
        if found is None:
            refuse(NOT_FOUND, f"The path {call.scope.path} does not exist.")
        by_method, segments = found
        if call.scope.method == "OPTIONS":
            return self._options(call, by_method)
        route = by_method.get(_SAME_AS.get(call.scope.method, call.scope.method))
        if route is None:
            allow = ", ".join(_allowed(by_method))
            refuse(METHOD_NOT_ALLOWED, f"Allowed methods: {allow}.", headers=(("allow", allow),))
        call.template = route.template
        endpoint = self._endpoints[route]
        principal = await endpoint.access.admit(call.authorization)
        if route.rpc.server_streaming:
            request = await self._request(call, endpoint, segments, principal)
            return await self._stream(call, route, request, headers)
        # Before the body is read, so that a refusal is cheap.
        if not self._concurrency.enter(route.method.kind):
            refuse(OVERLOADED, "Too many requests are in progress.")
        try:
            return await self._unary(call, endpoint, await self._request(call, endpoint, segments, principal))
        finally:
            self._concurrency.leave()

    def _options(self, call: Call, by_method: dict[str, Route]) -> Reply:
        call.template = next(iter(by_method.values())).template
        allowed = _allowed(by_method)
        preflight = self._cors.preflight(call.headers.get("origin"), allowed)
        return Reply(204, [("allow", ", ".join(allowed)), *preflight])

    async def _request(self, call: Call, endpoint: _Endpoint, segments: Sequence[str], principal: Principal) -> Message:
        route, settings = endpoint.route, self._settings
        call.media_type = acceptable(call.headers, *endpoint.offered)
        body, media_type = b"", JSON
        if route.body:
            media_type = content_type(call.headers, *endpoint.transcoder.understood)
            body = await read_body(
                call.scope, call.transport, settings.body_limit_bytes, settings.body_timeout_seconds, self._alarms
            )
        request = endpoint.transcoder.request(segments, call.scope.query_string, body, media_type)
        endpoint.access.claim(principal, request)
        if self._rates is not None:
            address = address_of(call.scope, settings.trusted_hops)
            call.rate = await self._rates.admit(route.method.kind, principal, address, request)
        set_request_id(request, key_of(call.headers), self._entropy.token_hex)
        set_admission_token(route, request, call.headers)
        return request

    async def _unary(self, call: Call, endpoint: _Endpoint, request: DynamicMessage) -> Reply:
        timeout_seconds = self._timeout(call)
        response: Message
        with WhileWaiting(self._alarms, call.transport):
            if endpoint.command_field is not None:
                response, replayed = await self._coalescer.send(
                    sale_of(request),
                    endpoint.command_field,
                    request,
                    timeout_seconds,
                    call.traceparent,
                    call.request_id,
                    call.authorization,
                    call.span,
                )
            else:
                sale = sale_of(request) if endpoint.changes_sale else ""
                response, replayed = await self._inventory.call(
                    endpoint.route, request, timeout_seconds, _metadata(call), sale
                )
        if endpoint.entries is not None and call.media_type != JSON:
            headers = rows.headers_of(response, call.media_type, call.scope.query_string)
            return Reply(200, headers, rows.body_of(response, endpoint.entries, call.media_type))
        body = orjson.dumps(codec.encode(response))
        return Reply(200, [_JSON_TYPE, _REPLAYED] if replayed else [_JSON_TYPE], body)

    async def _stream(self, call: Call, route: Route, request: DynamicMessage, headers: Headers) -> Reply | None:
        last_seen = call.headers.get("last-event-id")
        if last_seen and "resume_token" in route.rpc.input_type.fields_by_name:
            request.resume_token = last_seen
        watch = Watch(self._inventory, route, request, _metadata(call))
        try:
            first = await self._first_event(call, watch)
            if call.scope.method == "HEAD":
                return Reply(200, list(sse.HEADERS))
            events = sse.EventStream(watch.read, self._stream_limits, self.streams_ending, self._entropy)
            await events.send(call.transport, first, [*sse.HEADERS, *call.rate, *headers], call.request_id)
            return None
        finally:
            watch.cancel()

    async def _first_event(self, call: Call, watch: Watch) -> Message:
        """Return the first message. Until it arrives, a refusal is still a normal answer."""
        timeout_seconds = self._timeout(call)
        try:
            with WhileWaiting(self._alarms, call.transport):
                async with asyncio.timeout(timeout_seconds):
                    first = await watch.read()
        except TimeoutError:
            refuse(DEADLINE_IN_QUEUE, f"The inventory did not send anything for {timeout_seconds:g} s.")
        if first is None:
            refuse(DRAINING, "The inventory ended the stream before it began.")
        return first

    def _timeout(self, call: Call) -> float:
        settings = self._settings
        return timeout_of(call.headers, settings.request_timeout_seconds, settings.request_timeout_max_seconds)


def _allowed(by_method: Iterable[str]) -> list[str]:
    """Return the HTTP methods that a path supports: those of its routes, HEAD and OPTIONS."""
    methods = list(by_method)
    return [*methods, "HEAD", "OPTIONS"] if "GET" in methods else [*methods, "OPTIONS"]


def _offered(route: Route, entries: FieldDescriptor | None) -> tuple[str, ...]:
    if route.rpc.server_streaming:
        return (sse.MEDIA_TYPE,)
    return (JSON,) if entries is None else (JSON, rows.JSON_LINES, rows.CSV)


def _changes_sale(route: Route) -> bool:
    names = {variable.field_path for variable in route.variables if variable.start == _SALES_AT}
    is_of_sale = route.segments[_SALES_AT] == "sales" and names <= {("parent",), ("name",)}
    return bool(names) and is_of_sale and not route.method.kind.changes_nothing


def sale_of(request: DynamicMessage) -> str:
    """Return a command's sale, `sales/x`, from its parent or from the name of what it changes."""
    name: str = request.parent if "parent" in request.DESCRIPTOR.fields_by_name else request.name
    return "/".join(name.split("/", 2)[:2])


def _metadata(call: Call) -> Metadata:
    metadata = (("x-request-id", call.request_id), ("traceparent", call.traceparent))
    return metadata if call.authorization is None else (*metadata, ("authorization", call.authorization))
