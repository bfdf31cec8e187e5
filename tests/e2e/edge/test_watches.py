"""Watches on connections that end after seconds: each watch ends in order or continues, and none has a gap."""

import asyncio
import base64
import struct
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import grpc
import pytest
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import GrpcClient
from lab.kit.refusals import reason_of, told
from lab.kit.rest_client import RestClient
from lab.kit.watching import events, request_for
from tests.support.nginx import nginx_before
from tests.support.services import NO_DRAIN, Gateway, Inventory

BOUND_SECONDS = 120
AGES = {
    "connection_age_seconds": 2,
    "connection_age_grace_seconds": 4,
    "watch_heartbeat_seconds": 0.3,
    "watch_reader_seconds": 1,
    **NO_DRAIN,
}
"""With it, watches last 1 to 2 seconds."""
ENDS = 6
"""How many times a watch over gRPC ends before the test ends, so that it has used several connections."""


@dataclass
class Stage:
    """Where the same inventory is served, by road."""

    grpc: dict[str, str]
    rest: dict[str, str]


@pytest.fixture
async def stage(database_url, start_edge, free_port, tmp_path):
    """An inventory with long-lived connections, behind a gateway, an edge and an nginx with its default settings."""
    async with AsyncExitStack() as stack:
        inventory = await stack.enter_context(Inventory(database_url, **AGES)).is_serving()
        gateway = stack.enter_context(Gateway([inventory.address], stream_heartbeat_seconds=0.5, **NO_DRAIN))
        await gateway.is_serving()
        behind = gateway.url.removeprefix("http://")
        edge = await start_edge([behind], [inventory.address], connection_age_seconds=1)
        rest, to_edge, grpc_road = await stack.enter_async_context(
            nginx_before(tmp_path, free_port, rest=[behind, edge.target], grpc=[inventory.address])
        )
        yield Stage(
            {"direct": inventory.address, "edge": edge.target, "nginx": grpc_road},
            {"gateway": behind, "edge": edge.target, "nginx": rest, "nginx and edge": to_edge},
        )


class Follower:
    """Follows the movements of a sale, each once and in order."""

    def __init__(self, sale):
        self.sale = sale
        self.sequence = 0
        self.token = ""
        self.ends = []

    def take(self, event):
        for movement in event.movements:
            assert movement.sequence == self.sequence + 1
            self.sequence = movement.sequence
        self.token = event.resume_token

    def watch(self, client):
        return aclosing(events(client, request_for(self.sale, stock=False, resume_token=self.token)))

    async def over_grpc(self, client):
        while len(self.ends) < ENDS:
            try:
                async with self.watch(client) as told:
                    async for event in told:
                        self.take(event)
            except grpc.aio.AioRpcError as error:
                self.ends.append(end_told_by(error))

    async def over_rest(self, client, enough):
        async with self.watch(client) as told:
            while not enough.is_set():
                self.take(await anext(told))


def end_told_by(error):
    """Return the code and the reason, or gRPC's own text if there is no reason."""
    return error.code().name, reason_of(error) or error.details()


async def health_ends(stub):
    """Return how watches of health end, one after the other."""
    ends = []
    while len(ends) < ENDS:
        try:
            async for answer in stub.Watch(health_pb2.HealthCheckRequest()):
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
        except grpc.aio.AioRpcError as error:
            ends.append(end_told_by(error))
    return ends


@asynccontextmanager
async def selling(sale, client):
    """Sell until stopped. Every request must succeed, even if watches end in the meantime."""

    async def sell():
        while True:
            answer = await client.reserve(sale, "c-1", sneaker=1)
            assert answer.status == 200, answer
            await asyncio.sleep(0.02)

    seller = asyncio.create_task(sell())
    try:
        yield seller
    finally:
        seller.cancel()
        await asyncio.wait([seller])


async def test_no_watch_is_cut_and_none_has_a_gap(stage):
    async with AsyncExitStack() as stack, asyncio.timeout(BOUND_SECONDS):
        shops = [await stack.enter_async_context(GrpcClient(address)) for address in stage.grpc.values()]
        readers = [await stack.enter_async_context(RestClient(f"http://{each}")) for each in stage.rest.values()]
        sale = await shops[0].open_sale(sneaker=1_000_000)
        seller = await stack.enter_async_context(selling(sale, readers[0]))
        over_grpc = [Follower(sale) for _ in shops for _ in range(4)]
        over_rest = [Follower(sale) for _ in readers]
        enough = asyncio.Event()

        async def follow(number, follower):
            # Not all at once, so that they use connections of every age.
            await asyncio.sleep(number * 0.2)
            await follower.over_grpc(shops[number % len(shops)])

        async with asyncio.TaskGroup() as tasks:
            streams = [
                tasks.create_task(follower.over_rest(reader, enough))
                for follower, reader in zip(over_rest, readers, strict=True)
            ]
            health = [tasks.create_task(health_ends(shop.health)) for shop in shops]
            await asyncio.gather(*(follow(*each) for each in enumerate(over_grpc)))
            await asyncio.gather(*health)
            enough.set()
            await asyncio.gather(*streams)
        assert not seller.done()
    ends = {end for follower in over_grpc for end in follower.ends} | {end for task in health for end in task.result()}
    assert ends == {("ABORTED", "WATCH_EXPIRED")}
    assert all(follower.sequence > 10 for follower in (*over_grpc, *over_rest))


async def test_a_watch_over_grpc_web_ends_with_the_reason_too(stage):
    message = ss.WatchStockRequest(name=(await opened(stage))).SerializeToString()
    async with (
        aiohttp.ClientSession() as session,
        asyncio.timeout(BOUND_SECONDS),
        session.post(
            f"http://{stage.rest['edge']}/holdfast.inventory.v1.SaleService/WatchStock",
            data=struct.pack(">BI", 0, len(message)) + message,
            headers={"content-type": "application/grpc-web+proto"},
        ) as answer,
    ):
        body = await answer.read()
    *_, (flag, trailers) = frames(body)
    fields = dict(line.split(":", 1) for line in trailers.decode().strip().split("\r\n"))
    assert (flag, fields["grpc-status"]) == (0x80, "10")
    details = Status.FromString(base64.b64decode(fields["grpc-status-details-bin"] + "=="))
    assert told(details).reason == "WATCH_EXPIRED"


def frames(body):
    """The flag and the content of each frame of gRPC-Web."""
    while body:
        flag, size = struct.unpack(">BI", body[:5])
        yield flag, body[5 : 5 + size]
        body = body[5 + size :]


async def opened(stage):
    async with GrpcClient(stage.grpc["direct"]) as shop:
        return await shop.open_sale(sneaker=1)
