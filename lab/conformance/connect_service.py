"""connectrpc.conformance.v1.ConformanceService: it answers as each request asks it to, and tells what it saw."""

import asyncio
import base64
from collections import defaultdict
from pathlib import Path

from google.rpc.status_pb2 import Status

from holdfast_inventory.ports import Ending, Endpoint
from lab.conformance.messages import Messages

PROTOS = Path(__file__).parents[2] / ".tools/conformance"
_PACKAGE = "connectrpc.conformance.v1"
messages = Messages(
    PROTOS, _PACKAGE, *(f"connectrpc/conformance/v1/{name}.proto" for name in ("service", "server_compat"))
)


def endpoints():
    return [
        Endpoint(f"/{_PACKAGE}.ConformanceService/{name}", *streams, serve)
        for name, streams, serve in (
            ("Unary", (False, False), _unary),
            ("ClientStream", (True, False), _client_stream),
            ("ServerStream", (False, True), _server_stream),
            ("BidiStream", (True, True), _bidi_stream),
        )
    ]


async def _unary(raw, exchange):
    request = messages.UnaryRequest.FromString(raw)
    return await _single(request.response_definition, messages.UnaryResponse, exchange, [request])


async def _client_stream(requests, exchange):
    came = [messages.ClientStreamRequest.FromString(raw) async for raw in requests]
    wanted = came[0].response_definition if came else messages.UnaryResponseDefinition()
    return await _single(wanted, messages.ClientStreamResponse, exchange, came)


async def _single(wanted, response, exchange, requests):
    await _begin(exchange, wanted)
    await _wait(wanted)
    seen = _seen(exchange, requests)
    if wanted.HasField("error"):
        return _refusal(wanted, seen)
    payload = messages.ConformancePayload(data=wanted.response_data, request_info=seen)
    return Ending(response(payload=payload).SerializeToString(), _metadata(wanted.response_trailers))


async def _server_stream(raw, exchange):
    request = messages.ServerStreamRequest.FromString(raw)
    answers = _Answers(request.response_definition, messages.ServerStreamResponse, exchange)
    await _begin(exchange, request.response_definition)
    return await answers.end([request])


async def _bidi_stream(requests, exchange):
    answers, came = None, []
    async for raw in requests:
        request = messages.BidiStreamRequest.FromString(raw)
        came.append(request)
        if answers is None:
            answers = _Answers(request.response_definition, messages.BidiStreamResponse, exchange)
            full_duplex = request.full_duplex
            await _begin(exchange, request.response_definition)
        if full_duplex:
            if not answers.left:
                break
            await answers.send(came)
            came = []
    return Ending(b"", ()) if answers is None else await answers.end(came)


class _Answers:
    """The answers of a stream; the first tells of the call."""

    def __init__(self, wanted, response, exchange):
        self.left = list(wanted.response_data)
        self._wanted, self._response, self._exchange = wanted, response, exchange
        self._first = True

    async def send(self, requests):
        await _wait(self._wanted)
        payload = messages.ConformancePayload(data=self.left.pop(0), request_info=self._seen(requests))
        await self._exchange.write(self._response(payload=payload).SerializeToString())

    async def end(self, requests):
        """Send what is left, and the end."""
        while self.left:
            await self.send(requests)
            requests = []
        if self._wanted.HasField("error"):
            return _refusal(self._wanted, _seen(self._exchange, requests) if self._first else None)
        return Ending(b"", _metadata(self._wanted.response_trailers))

    def _seen(self, requests):
        seen = _seen(self._exchange, requests) if self._first else _requests(requests)
        self._first = False
        return seen


async def _begin(exchange, wanted):
    if wanted.response_headers:
        await exchange.begin(_metadata(wanted.response_headers))


async def _wait(wanted):
    await asyncio.sleep(wanted.response_delay_ms / 1000)


def _refusal(wanted, seen):
    """Return the requested error. Its details have what the server saw unless an answer has."""
    error = wanted.error
    status = Status(code=error.code, message=error.message)
    for detail in [*error.details, *([] if seen is None else [messages.packed(seen)])]:
        status.details.add(type_url=detail.type_url, value=detail.value)
    details = ("grpc-status-details-bin", status.SerializeToString())
    return Ending(b"", (*_metadata(wanted.response_trailers), details), error.code, error.message)


def _seen(exchange, requests):
    seen = _requests(requests)
    headers = defaultdict(list)
    for key, value in exchange.metadata:
        headers[key].append(value if isinstance(value, str) else base64.b64encode(value).decode().rstrip("="))
    for name, values in headers.items():
        seen.request_headers.add(name=name, value=values)
    remaining = exchange.remaining_seconds()
    if remaining is not None:
        seen.timeout_ms = max(int(remaining * 1000), 0)
    return seen


def _requests(requests):
    return messages.ConformancePayload.RequestInfo(requests=map(messages.packed, requests))


def _metadata(headers):
    return [
        (header.name.lower(), _decoded(value) if header.name.lower().endswith("-bin") else value)
        for header in headers
        for value in header.value
    ]


def _decoded(value):
    return base64.b64decode(value + "=" * (-len(value) % 4))
