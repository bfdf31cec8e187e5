"""Mutual TLS is turned on in a running deployment as the runbook says, and no call fails."""

import asyncio
import uuid
from contextlib import ExitStack, asynccontextmanager

import aiohttp
import grpc
import pytest

from holdfast.inventory.v1 import sale_pb2, sale_service_pb2
from holdfast.inventory.v1.reservation_service_pb2_grpc import ReservationServiceStub
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis import direct
from holdfast_devstack.ports import free_port
from lab.kit.grpc_client import create
from tests.e2e.workloads.conftest import TRANSPORTS, Edge
from tests.support.certificates import Authority
from tests.support.eventually import eventually
from tests.support.services import Gateway, Inventory

CALL_SECONDS = 20
# An edge notices within 2.1 s that a replica drains.
DRAIN = {"drain_quiet_seconds": 0.3, "drain_min_seconds": 2.5}
EDGE_DRAIN = {"drain_quiet_seconds": 0.3, "drain_min_seconds": 1, "finish_seconds": 5}


def at(port):
    return f"127.0.0.1:{port}"


class Deployment:
    """Two inventories, one of each transport, and two gateways, each of which is replaced on its ports."""

    def __init__(self, started, database_url, directory):
        self._started, self._url = started, database_url
        authority = Authority(directory)
        self.directories = {name: authority.equip(directory / name, name) for name in ("edge", "gateway", "inventory")}
        self.plain = {tier: [free_port(), free_port()] for tier in ("inventory", "gateway")}
        self.tls = {tier: [free_port(), free_port()] for tier in ("inventory", "gateway")}
        self._running = {}
        self._edge = None

    async def inventory(self, number, **settings):
        """Start this inventory, or replace it."""
        settings |= {"transport": TRANSPORTS[number], "migrate_on_start": True, **DRAIN}
        await self._replace(f"inventory {number}", lambda: Inventory(self._url, **settings))

    async def gateway(self, number, inventories, **settings):
        """Start this gateway of inventories at these ports, or replace it."""
        await self._replace(f"gateway {number}", lambda: Gateway(map(at, inventories), **settings, **DRAIN))

    async def edge(self, ports, **settings):
        """Start an edge of the tiers at these ports."""
        targets = [[at(port) for port in ports[tier]] for tier in ("gateway", "inventory")]
        self._edge = self._started.enter_context(Edge(*targets, **settings, **EDGE_DRAIN))
        await self._edge.says("serving")
        await self._edge.sees(replicas=2)
        return self._edge

    async def _replace(self, name, start):
        if name in self._running:
            await stopped(self._running[name])
        self._running[name] = await self._started.enter_context(start()).is_serving()
        if self._edge is not None:
            await self._edge.sees(replicas=2)


async def stopped(service):
    service.terminate()
    assert await service.exit_code() == 0


@pytest.fixture
def deployment(postgres18, tmp_path):
    with ExitStack() as started:
        yield Deployment(started, postgres18.create_database("turning_on"), tmp_path)
    postgres18.drop_database("turning_on")


class Clients:
    """Buy through an edge over both protocols, again and again, and go on to another when told to."""

    def __init__(self):
        self.answers = []
        self._buying = []

    async def move_to(self, edge):
        """Buy through this edge. The others are not used any more when this returns."""
        former, self._buying = self._buying, []
        ending = asyncio.Event()
        for buy in (self._over_rest, self._over_grpc):
            self._buying += [(ending, asyncio.create_task(buy(edge.target, ending))) for _ in range(3)]
        for told, task in former:
            told.set()
            await task

    async def end(self):
        for told, task in self._buying:
            told.set()
            await task

    async def more(self, count):
        """Wait for this many more answers."""
        wanted = len(self.answers) + count
        await eventually(lambda: len(self.answers) >= wanted)

    async def _over_rest(self, target, ending):
        async with aiohttp.ClientSession() as session:
            while not ending.is_set():
                body = {"customer": uuid.uuid4().hex, "lines": [{"item": "a", "quantity": 1}]}
                async with session.post(f"http://{target}/v1/sales/s/reservations", json=body) as answer:
                    self.answers.append(answer.status)

    async def _over_grpc(self, target, ending):
        async with grpc.aio.insecure_channel(target, direct.CHANNEL_OPTIONS) as channel:
            buy = ReservationServiceStub(channel).CreateReservation
            while not ending.is_set():
                try:
                    await buy(create("sales/s", uuid.uuid4().hex, a=1), timeout=CALL_SECONDS)
                    self.answers.append(200)
                except grpc.aio.AioRpcError as error:
                    self.answers.append(error.details())


@asynccontextmanager
async def clients_of(edge):
    clients = Clients()
    await clients.move_to(edge)
    try:
        yield clients
    finally:
        await clients.end()


async def is_refused(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


@pytest.mark.timeout(300)
async def test_a_running_deployment_turns_to_tls_without_a_failed_call(deployment):
    directories, plain, tls = deployment.directories, deployment.plain, deployment.tls
    by_tls = {"inventory_tls_dir": directories["gateway"], "http_tls_dir": directories["gateway"]}
    for replicas in (
        [deployment.inventory(number, grpc_port=port) for number, port in enumerate(plain["inventory"])],
        [
            deployment.gateway(number, plain["inventory"], http_port=port)
            for number, port in enumerate(plain["gateway"])
        ],
    ):
        await asyncio.gather(*replicas)
    edge = await deployment.edge(plain)
    async with grpc.aio.insecure_channel(edge.target, direct.CHANNEL_OPTIONS) as channel:
        new = sale_pb2.Sale(items=[sale_pb2.Item(item="a", on_hand=1_000_000)])
        wanted = sale_service_pb2.CreateSaleRequest(sale_id="s", sale=new)
        await SaleServiceStub(channel).CreateSale(wanted, timeout=CALL_SECONDS)
    async with clients_of(edge) as clients:
        # Each server opens a port with TLS beside the former one, inventories first.
        for number, port in enumerate(tls["inventory"]):
            both = {"grpc_port": port, "grpc_plain_port": plain["inventory"][number]}
            await deployment.inventory(number, grpc_tls_dir=directories["inventory"], **both)
        for number, port in enumerate(tls["gateway"]):
            both = {"http_port": port, "http_plain_port": plain["gateway"][number]}
            await deployment.gateway(number, tls["inventory"], **both, **by_tls)
        await clients.more(50)
        renewed = await deployment.edge(tls, workload_tls_dir=directories["edge"])
        await clients.move_to(renewed)
        await stopped(edge)
        # No one needs the ports without TLS any more.
        for number, ports in enumerate(zip(tls["inventory"], tls["gateway"], strict=True)):
            grpc_port, http_port = ports
            await asyncio.gather(
                deployment.inventory(number, grpc_port=grpc_port, grpc_tls_dir=directories["inventory"]),
                deployment.gateway(number, tls["inventory"], http_port=http_port, **by_tls),
            )
        await clients.more(50)
    assert set(clients.answers) == {200}
    assert all([await is_refused(port) for ports in plain.values() for port in ports])
