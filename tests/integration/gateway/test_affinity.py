"""Each sale has one replica, the same for all gateways; shares are equal, and a drain moves only its sales."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast_chassis.contract import SERVICES
from holdfast_gateway.inventory_client import InventoryClient
from holdfast_gateway.problems import OVERLOADED, ProblemError
from holdfast_gateway.routes import routes_of

from .conftest import NOT_SERVING, FakeInventory, abort_with, make_refusal

SALES = [f"drop-{number}" for number in range(300)]


class Replica(FakeInventory):
    """An inventory whose health can change during a watch."""

    async def start(self, port=0):
        self.told = asyncio.Event()
        await super().start(port)

    async def Watch(self, request, context):  # noqa: N802 - gRPC's name
        while True:
            yield health_pb2.HealthCheckResponse(status=self.health[""])
            await self.told.wait()
            self.told.clear()

    def drain(self):
        self.health = dict.fromkeys(self.health, NOT_SERVING)
        self.told.set()


@pytest.fixture
async def replicas():
    replicas = [Replica() for _ in range(3)]
    for replica in replicas:
        await replica.start()
    yield replicas
    for replica in replicas:
        await replica.stop()


@asynccontextmanager
async def client_of(replicas):
    addresses = ",".join(f"127.0.0.1:{replica.port}" for replica in replicas)
    client = InventoryClient(f"ipv4:{addresses}", routes_of(SERVICES), 5.0)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def submit(client, sale):
    await client.submit(rs.SubmitRequest(parent=f"sales/{sale}"), 10.0)


async def replicas_of_sales(client, replicas):
    """Return the replica that gets each sale's commands."""
    for replica in replicas:
        replica.submits.clear()
    await asyncio.gather(*(submit(client, sale) for sale in SALES))
    return {got.parent.removeprefix("sales/"): replica.port for replica in replicas for got in replica.submits}


async def test_sales_are_spread_evenly_and_each_stays_where_it_is(replicas):
    async with client_of(replicas) as client:
        first = await replicas_of_sales(client, replicas)
        assert await replicas_of_sales(client, replicas) == first
    shares = Counter(first.values())
    assert set(shares) == {replica.port for replica in replicas}
    assert min(shares.values()) > 50


async def test_all_gateways_agree(replicas):
    async with client_of(replicas) as one, client_of(replicas[::-1]) as other:
        assert await replicas_of_sales(one, replicas) == await replicas_of_sales(other, replicas)


async def test_when_a_replica_drains_its_sales_move_and_no_others(replicas):
    leaving = replicas[0]
    async with client_of(replicas) as client:
        before = await replicas_of_sales(client, replicas)
        leaving.drain()
        async with asyncio.timeout(10):
            while leaving.port in (after := await replicas_of_sales(client, replicas)).values():
                pass
    assert {sale for sale in SALES if after[sale] != before[sale]} == {
        sale for sale, port in before.items() if port == leaving.port
    }


async def test_a_sale_whose_replica_has_no_room_goes_to_another_until_it_has(replicas):
    async def refuse(_, context):
        await abort_with(context, make_refusal("OVERLOADED", code_pb2.RESOURCE_EXHAUSTED))

    async with client_of(replicas) as client:
        home = await replicas_of_sales(client, replicas)
        full = replicas[0]
        full.answers["Submit"] = refuse
        refused = []
        for sale in (sale for sale, port in home.items() if port == full.port):
            with pytest.raises(ProblemError) as told:
                await submit(client, sale)
            refused.append((sale, told.value.problem.reason))
        assert {reason for _, reason in refused} == {OVERLOADED}
        full.submits.clear()
        answers = await asyncio.gather(*(submit(client, sale) for sale, _ in refused), return_exceptions=True)
    # For some sales both choices are the same replica.
    moved = sum(answer is None for answer in answers)
    assert moved == len(refused) - len(full.submits)
    assert moved > len(refused) / 3
