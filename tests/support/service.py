"""The inventory service as a whole, in the test's own process, and a client's view of it."""

import asyncio
from contextlib import asynccontextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import (
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    sale_pb2,
    sale_service_pb2,
    sale_service_pb2_grpc,
)
from holdfast_inventory.app import App
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports import grpc_aio

QUICK = {
    "drain_quiet_seconds": 0.1,
    "drain_min_seconds": 0.1,
    "drain_max_seconds": 5.0,
    "drain_grace_seconds": 2.0,
    "readiness_interval_seconds": 0.05,
    "sweep_interval_seconds": 0.1,
    "database_wait_seconds": 10.0,
}


class Service:
    """A running service; its stubs are called as gRPC's are."""

    def __init__(self, app, channel):
        self.app = app
        self.reservations = reservation_service_pb2_grpc.ReservationServiceStub(channel)
        self.sales = sale_service_pb2_grpc.SaleServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    async def create_sale(self, sale_id="drop-1", *, rules=None, **on_hand):
        items = [sale_pb2.Item(item=item_id, on_hand=units) for item_id, units in on_hand.items()]
        sale = sale_pb2.Sale(items=items, **(rules or {}))
        return await self.sales.CreateSale(sale_service_pb2.CreateSaleRequest(sale_id=sale_id, sale=sale))

    def hold(self, customer="c-1", *, sale_id="drop-1", request_id="", **quantities):
        return self.reservations.CreateReservation(create(customer, sale_id, request_id, **quantities), timeout=10)

    async def status(self, name=""):
        return (await self.health.Check(health_pb2.HealthCheckRequest(service=name))).status

    async def wait_for_status(self, status, name=""):
        watch = self.health.Watch(health_pb2.HealthCheckRequest(service=name))
        try:
            async with asyncio.timeout(15):
                while (await watch.read()).status != status:
                    pass
        finally:
            watch.cancel()


def create(customer="c-1", sale_id="drop-1", request_id="", **quantities):
    return reservation_service_pb2.CreateReservationRequest(
        parent=f"sales/{sale_id}",
        customer=customer,
        lines=[reservation_service_pb2.Line(item=item, quantity=units) for item, units in quantities.items()],
        request_id=request_id,
    )


@asynccontextmanager
async def running_service(database_url, **settings):
    """Starts a service and, unless the test has, stops it."""
    chosen = QUICK | {"grpc_host": "127.0.0.1", "metrics_host": "127.0.0.1", "grpc_port": 0, "metrics_port": 0}
    app = App(InventorySettings(database_url=database_url, **chosen | settings), "test", grpc_aio.Server)
    assert await app.lifecycle.start()
    try:
        async with grpc.aio.insecure_channel(app.server.address) as channel:
            yield Service(app, channel)
    finally:
        await app.lifecycle.stop()
    assert app.lifecycle.exit_code == 0
