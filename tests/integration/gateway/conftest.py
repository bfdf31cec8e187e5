"""A small fake inventory with prepared answers, and gateways in front of it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import reservation_service_pb2_grpc as rs_grpc
from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1 import sale_service_pb2_grpc as ss_grpc
from holdfast_gateway.app import App
from holdfast_gateway.settings import GatewaySettings
from lab.kit.rest_client import RestClient

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def make_refusal(reason, code=code_pb2.FAILED_PRECONDITION, retry_seconds=None, metadata=None):
    """Return a google.rpc.Status as inventory makes them."""
    status = status_pb2.Status(code=code, message=f"because of {reason}")
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="inventory.holdfast.dev", metadata=metadata or {})]
    if retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(retry_seconds * 1e9))
        details.append(retry)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


async def abort_with(context, status):
    """End a call with that status."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, (("grpc-status-details-bin", status.SerializeToString()),))


@dataclass
class FakeInventory(rs_grpc.ReservationServiceServicer, ss_grpc.SaleServiceServicer, health_pb2_grpc.HealthServicer):
    """A fake with prepared answers, which records its requests."""

    answers: dict[str, Callable[..., Awaitable[object]]] = field(default_factory=dict)
    requests: list[object] = field(default_factory=list)
    submits: list[rs.SubmitRequest] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    health: dict[str, int] = field(default_factory=lambda: {"": SERVING, "database": SERVING, "redis": NOT_SERVING})
    seen: dict[str, rs.Reservation] = field(default_factory=dict)

    async def start(self, port=0):
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        rs_grpc.add_ReservationServiceServicer_to_server(self, self.server)
        ss_grpc.add_SaleServiceServicer_to_server(self, self.server)
        health_pb2_grpc.add_HealthServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        await self.server.start()

    async def stop(self):
        await self.server.stop(0)

    async def Submit(self, request, context):  # noqa: N802 - gRPC looks for this name
        self.submits.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if "Submit" in self.answers:
            return await self.answers["Submit"](request, context)
        return rs.SubmitResponse(outcomes=[self.outcome(request.parent, command) for command in request.commands])

    def outcome(self, parent, command):
        kind = command.WhichOneof("command")
        if kind != "create":
            name = getattr(command, kind).name
            return rs.Outcome(reservation=rs.Reservation(name=name, state=kind_state(kind)))
        create = command.create
        if create.request_id in self.seen:
            return rs.Outcome(reservation=self.seen[create.request_id], replayed=True)
        reservation = rs.Reservation(
            name=f"{parent}/reservations/r-{len(self.seen)}",
            customer=create.customer,
            lines=create.lines,
            state=rs.Reservation.HELD,
        )
        reservation.expire_time.FromSeconds(1_900_000_000)
        self.seen[create.request_id] = reservation
        return rs.Outcome(reservation=reservation)

    async def List(self, request, context):  # noqa: N802 - as above
        statuses = {name: health_pb2.HealthCheckResponse(status=status) for name, status in self.health.items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request, context):  # noqa: N802 - as above
        while True:
            yield health_pb2.HealthCheckResponse(status=self.health.get(request.service, self.health[""]))
            await asyncio.Event().wait()


def kind_state(kind):
    return {"confirm": rs.Reservation.CONFIRMED, "release": rs.Reservation.RELEASED}.get(kind, rs.Reservation.HELD)


def _unary(name, response_class):
    async def answer(self, request, context):
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if name in self.answers:
            return await self.answers[name](request, context)
        return response_class()

    return answer


def _stream(name):
    async def answer(self, request, context):
        self.requests.append(request)
        async for event in self.answers[name](request, context):
            yield event

    return answer


for _name, _class in {
    "GetReservation": rs.Reservation,
    "ListReservations": rs.ListReservationsResponse,
    "CreateSale": sale_pb2.Sale,
    "GetSale": sale_pb2.Sale,
    "UpdateSale": sale_pb2.Sale,
    "ListSales": ss.ListSalesResponse,
    "GetItem": sale_pb2.Item,
    "AdjustStock": sale_pb2.Item,
    "TransferStock": ss.TransferStockResponse,
    "PauseSale": sale_pb2.Sale,
}.items():
    setattr(FakeInventory, _name, _unary(_name, _class))
for _name in ("WatchStock", "WatchMovements"):
    setattr(FakeInventory, _name, _stream(_name))


@pytest.fixture
def not_serving():
    return NOT_SERVING


@pytest.fixture
def refusal():
    return make_refusal


@pytest.fixture
def abort():
    return abort_with


@pytest.fixture
async def inventory():
    fake = FakeInventory()
    await fake.start()
    yield fake
    await fake.stop()


@asynccontextmanager
async def running(target, **settings):
    """Run a gateway in this process, and stop it without waiting for quiet."""
    options = {
        "http_host": "127.0.0.1",
        "http_port": 0,
        "metrics_host": "127.0.0.1",
        "gateway_metrics_port": 0,
        "drain_min_seconds": 0,
        "drain_quiet_seconds": 0,
        "inventory_target": target,
    }
    app = App(GatewaySettings(**(options | settings)), "test-version")
    assert await app.lifecycle.start()
    try:
        yield app
    finally:
        await app.lifecycle.stop()


class Client(RestClient):
    """A client of one gateway."""

    def __init__(self, app):
        super().__init__(f"http://127.0.0.1:{app.http.bound_port}")
        self.app = app


@pytest.fixture
async def start_gateway(inventory):
    """Return a function that starts a gateway in front of `inventory`, with given settings."""
    async with AsyncExitStack() as stack:

        async def start(target=None, **settings):
            app = await stack.enter_async_context(running(target or f"ipv4:127.0.0.1:{inventory.port}", **settings))
            return await stack.enter_async_context(Client(app))

        yield start


@pytest.fixture
async def gateway(start_gateway):
    return await start_gateway()
