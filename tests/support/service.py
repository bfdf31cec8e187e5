"""The complete inventory service in the test's own process, and a client of it."""

import asyncio
from contextlib import asynccontextmanager

from grpc_health.v1 import health_pb2

from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_inventory.app import App
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports import grpc_aio
from lab.kit.grpc_client import GrpcClient, create

QUICK = {
    "drain_quiet_seconds": 0.1,
    "drain_min_seconds": 0.1,
    "drain_max_seconds": 5.0,
    "drain_grace_seconds": 2.0,
    "readiness_interval_seconds": 0.05,
    "sweep_interval_seconds": 0.1,
    "database_wait_seconds": 10.0,
}


class Service(GrpcClient):
    """A client of a running service."""

    def __init__(self, app):
        super().__init__(app.server.address)
        self.app = app

    async def create_sale(self, sale_id="drop-1", *, rules=None, **on_hand):
        items = [sale_pb2.Item(item=item_id, on_hand=units) for item_id, units in on_hand.items()]
        return await self.call(ss.CreateSaleRequest(sale_id=sale_id, sale=sale_pb2.Sale(items=items, **(rules or {}))))

    def hold(self, customer="c-1", *, sale_id="drop-1", request_id="", **quantities):
        return self.call(create(f"sales/{sale_id}", customer, request_id, **quantities))

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


@asynccontextmanager
async def running_service(database_url, **settings):
    """Start a service, and stop it unless the test has."""
    chosen = QUICK | {"grpc_host": "127.0.0.1", "metrics_host": "127.0.0.1", "grpc_port": 0, "metrics_port": 0}
    app = App(InventorySettings(database_url=database_url, **chosen | settings), "test", grpc_aio.Server)
    assert await app.lifecycle.start()
    try:
        async with Service(app) as service:
            yield service
    finally:
        await app.lifecycle.stop()
    assert app.lifecycle.exit_code == 0
