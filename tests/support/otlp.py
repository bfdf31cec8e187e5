"""A receiver of OpenTelemetry's protocol, over gRPC and over HTTP: it keeps the spans that it gets."""

import asyncio
from contextlib import asynccontextmanager
from typing import NamedTuple

import grpc
from aiohttp import web
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc

from lab.kit.web_server import serving


class ReceivedSpan(NamedTuple):
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[tuple[str, str], ...]
    attributes: dict
    failure: str
    began: int
    ended: int


class Receiver(pb_grpc.TraceServiceServicer):
    def __init__(self):
        self.spans = []
        self._came = asyncio.Condition()

    async def Export(self, request, _context):  # noqa: N802 - gRPC's name for it
        await self.keep(request)
        return pb.ExportTraceServiceResponse()

    async def post(self, request):
        await self.keep(pb.ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=pb.ExportTraceServiceResponse().SerializeToString())

    async def keep(self, request):
        for group in request.resource_spans:
            service = _values(group.resource.attributes)["service.name"]
            self.spans += [_received(service, span) for scope in group.scope_spans for span in scope.spans]
        async with self._came:
            self._came.notify_all()

    async def until(self, holds, seconds=20):
        """Wait until `holds(spans)`, and return what it returns."""
        try:
            async with asyncio.timeout(seconds), self._came:
                return await self._came.wait_for(lambda: holds(self.spans))
        except TimeoutError:
            raise AssertionError(f"there are only {[(span.trace_id, span.name) for span in self.spans]}") from None


def _received(service, span):
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        _values(span.attributes),
        span.status.message,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def _values(attributes):
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@asynccontextmanager
async def receiver_over_grpc():
    """Yield a receiver and its endpoint."""
    receiver, server = Receiver(), grpc.aio.server()
    pb_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield receiver, f"http://127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def receiver_over_http():
    """Yield a receiver and its endpoint."""
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/v1/traces", receiver.post)
    async with serving(app) as url:
        yield receiver, url
