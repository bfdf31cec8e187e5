"""A fake gateway and inventory with prepared answers, which record their requests."""

import asyncio
import json

import grpc
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from holdfast.inventory.v1 import (
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    sale_service_pb2,
    sale_service_pb2_grpc,
)

RESERVATION_SERVICE = "holdfast.inventory.v1.ReservationService"


class FakeGateway:
    """A gateway that answers with the request. `draining` makes its next answer the first of a drain."""

    def __init__(self, name, port):
        self.name = name
        self.port = port
        self.ready = True
        self.draining = False
        self.requests = []
        self.arrived = asyncio.Event()
        self.let_go = asyncio.Event()
        self._runner = None

    async def start(self):
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("GET", "/health/ready", self._health)
        app.router.add_route("GET", "/v1/sales/{sale}:watch", self._watch)
        app.router.add_route("*", "/v1/wait", self._wait)
        app.router.add_route("*", "/v1/lost", self._lose)
        app.router.add_route("*", "/{path:.*}", self._echo)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        self.let_go.set()
        await self._runner.cleanup()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def paths(self):
        return [request.path for request in self.requests]

    async def _health(self, _):
        return web.Response(status=200 if self.ready else 503)

    async def _echo(self, request):
        body = await request.read()
        self.requests.append(request)
        self.arrived.set()
        headers = {"x-served-by": self.name}
        if self.draining:
            self.ready = False
            headers |= {"connection": "close", "x-envoy-immediate-health-check-fail": "true"}
        status = int(request.query.get("status", 200))
        return web.json_response(
            {
                "path": request.path_qs,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "size": len(body),
            },
            status=status,
            headers=headers,
        )

    async def _wait(self, request):
        """Answer when it is released."""
        self.requests.append(request)
        self.arrived.set()
        await self.let_go.wait()
        return web.json_response({})

    async def _lose(self, request):
        """Close the connection instead of answering."""
        self.requests.append(request)
        request.transport.abort()
        return web.Response()

    async def _watch(self, request):
        self.requests.append(request)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: " + json.dumps({"first": True}).encode() + b"\n\n")
        self.arrived.set()
        await self.let_go.wait()
        return response


class FakeInventory(reservation_service_pb2_grpc.ReservationServiceServicer, sale_service_pb2_grpc.SaleServiceServicer):
    """An inventory over gRPC, with health."""

    def __init__(self, name):
        self.name = name
        self.calls = []
        self.metadata = {}
        self.port = None
        self._health = health.HealthServicer()
        self._server = None

    async def start(self):
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        reservation_service_pb2_grpc.add_ReservationServiceServicer_to_server(self, self._server)
        sale_service_pb2_grpc.add_SaleServiceServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self.be_serving(True)
        await self._server.start()

    async def stop(self):
        await self._server.stop(0)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    async def be_serving(self, serving):
        statuses = health_pb2.HealthCheckResponse
        await self._health.set(RESERVATION_SERVICE, statuses.SERVING if serving else statuses.NOT_SERVING)

    async def GetReservation(self, request, context):  # noqa: N802 - the name that gRPC calls
        self.calls.append(request.name)
        self.metadata = dict(context.invocation_metadata())
        await context.send_initial_metadata((("x-served-by", self.name),))
        if request.name == "refuse":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the application's own word")
        return reservation_service_pb2.Reservation(name=request.name)

    async def CreateReservation(self, request, context):  # noqa: N802 - as above
        self.calls.append(request.parent)
        return reservation_service_pb2.Reservation(name=f"{request.parent}/reservations/r")

    async def ConfirmReservation(self, request, context):  # noqa: N802 - as above
        self.calls.append(request.name)
        return reservation_service_pb2.Reservation(name=request.name)

    async def Submit(self, request, context):  # noqa: N802 - as above
        self.calls.append(request.parent)
        return reservation_service_pb2.SubmitResponse()

    async def WatchStock(self, request, context):  # noqa: N802 - as above
        self.calls.append(request.name)
        yield sale_service_pb2.WatchStockResponse()
        await asyncio.Event().wait()
