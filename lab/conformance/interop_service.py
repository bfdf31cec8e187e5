"""grpc.testing.TestService, which grpc-go's interop client calls."""

import asyncio
from pathlib import Path

from google.rpc.code_pb2 import Code

from holdfast_inventory.ports import Ending, Endpoint
from lab.conformance.messages import Messages

_INITIAL, _TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
_messages = Messages(Path(__file__).parent, "grpc.testing", "interop.proto")


def endpoints():
    return [
        Endpoint(f"/grpc.testing.TestService/{name}", *streams, serve)
        for name, streams, serve in (
            ("EmptyCall", (False, False), _empty_call),
            ("UnaryCall", (False, False), _unary_call),
            ("StreamingOutputCall", (False, True), _streaming_output_call),
            ("StreamingInputCall", (True, False), _streaming_input_call),
            ("FullDuplexCall", (True, True), _full_duplex_call),
        )
    ]


async def _empty_call(_request, _exchange):
    return _ok(_messages.Empty())


async def _unary_call(raw, exchange):
    request = _messages.SimpleRequest.FromString(raw)
    trailers = await _echo(exchange)
    if request.response_status.code:
        return _refusal(request.response_status)
    return _ok(_messages.SimpleResponse(payload=_payload(request.response_size)), trailers)


async def _streaming_output_call(raw, exchange):
    await _send(_messages.StreamingOutputCallRequest.FromString(raw), exchange)
    return Ending(b"", ())


async def _streaming_input_call(requests, _exchange):
    sizes = [len(_messages.StreamingInputCallRequest.FromString(raw).payload.body) async for raw in requests]
    return _ok(_messages.StreamingInputCallResponse(aggregated_payload_size=sum(sizes)))


async def _full_duplex_call(requests, exchange):
    trailers = await _echo(exchange)
    async for raw in requests:
        request = _messages.StreamingOutputCallRequest.FromString(raw)
        if request.response_status.code:
            return _refusal(request.response_status)
        await _send(request, exchange)
    return Ending(b"", trailers)


async def _echo(exchange):
    """Send the one key of the metadata that is to come first; the trailers are the other."""
    metadata = dict(exchange.metadata)
    if _INITIAL in metadata:
        await exchange.begin(((_INITIAL, metadata[_INITIAL]),))
    return ((_TRAILING, metadata[_TRAILING]),) if _TRAILING in metadata else ()


async def _send(request, exchange):
    for wanted in request.response_parameters:
        await asyncio.sleep(wanted.interval_us / 1e6)
        message = _messages.StreamingOutputCallResponse(payload=_payload(wanted.size))
        await exchange.write(message.SerializeToString())


def _payload(size):
    return _messages.Payload(body=bytes(size))


def _ok(message, trailers=()):
    return Ending(message.SerializeToString(), trailers, Code.OK)


def _refusal(status):
    return Ending(b"", (), status.code, status.message)
