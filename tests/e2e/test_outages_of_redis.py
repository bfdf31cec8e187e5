"""Redis never decides: with it killed, frozen, flushed or full of garbage, purchases and readiness continue."""

import asyncio
import signal
import socket
import time

import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast_devstack.valkey import ValkeyServer
from lab.kit.grpc_client import CALL_SECONDS, outcome
from lab.kit.refusals import Refused
from tests.support.eventually import eventually
from tests.support.services import NO_DRAIN, Gateway, Inventory

CHANNEL = b"holdfast:stock-changed"
SLOWEST_SECONDS = 5.0


@pytest.fixture(scope="module")
def harmed(cluster, tmp_path_factory):
    """A Valkey to harm, two replicas that use it, and a gateway in front of them."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    services = []
    try:
        services += [Inventory(cluster.database_url, server.url, **NO_DRAIN) for _ in range(2)]
        addresses = [inventory.wait_until_serving().address for inventory in services]
        services.append(Gateway(addresses, **NO_DRAIN))
        yield server, addresses, services[-1].wait_until_serving().url
    finally:
        for service in services:
            service.kill()
        server.child.send_signal(signal.SIGCONT)
        server.stop()


@pytest.fixture
async def valkey(harmed):
    """Restart it empty, and wait until both replicas have connected again."""
    server, _, _ = harmed
    server.kill()
    server.start()
    await eventually(lambda: b":2\r\n" in ask(server, b"PUBSUB NUMSUB %s\r\n" % CHANNEL))
    return server


@pytest.fixture
async def pair(harmed, grpc_client):
    """A gRPC client of each of the two replicas."""
    _, addresses, _ = harmed
    return [grpc_client(address) for address in addresses]


@pytest.fixture
async def rest(harmed, rest_client):
    """A REST client of both."""
    _, _, url = harmed
    return rest_client(url)


def kill(server):
    server.kill()


def freeze(server):
    server.child.send_signal(signal.SIGSTOP)


def flush(server):
    server.flush()


def drop_clients(server):
    ask(server, b"CLIENT KILL TYPE normal\r\nCLIENT KILL TYPE pubsub\r\n")


def send_garbage(server):
    messages = [b"", b"{}", b"null", b"\xff\xfe", b"[" * 400, b'{"sale_id": 1, "sequence": "x"}']
    messages += [b'{"sale_id": "no-such-sale", "sequence": 9223372036854775807, "origin": "x"}', b"x" * 100_000]
    commands = [
        b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in (b"PUBLISH", CHANNEL, message))
        for message in messages * 20
    ]
    ask(server, b"".join(commands))


def take_all_memory(server):
    ask(server, b"CONFIG SET maxmemory 1\r\nCONFIG SET maxmemory-policy noeviction\r\n")


def ask(server, commands):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(commands + b"QUIT\r\n")
        return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("harm", [kill, freeze, flush, drop_clients, send_garbage, take_all_memory])
async def test_purchases_go_on(shop, valkey, pair, rest, harm):
    sale = await shop.open_sale(sneaker=50)
    watch = pair[1].sales.WatchStock(ss.WatchStockRequest(name=sale), timeout=CALL_SECONDS)
    await watch.read()
    await pair[0].reserve(sale, "before", sneaker=1)
    harm(valkey)
    began_at = time.monotonic()
    answers = await asyncio.gather(*(outcome(pair[n % 2].reserve(sale, f"c-{n}", sneaker=1)) for n in range(80)))
    assert time.monotonic() - began_at < SLOWEST_SECONDS
    refusals = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(answers) - len(refusals) == 49
    assert {refusal.reason for refusal in refusals} == {"INSUFFICIENT_STOCK"}
    await sees_all_sold(watch)
    assert (await rest.get("/health/ready")).status == 200
    await what_returns_is_sold(pair, sale, answers)
    await shop.check_ledger(sale)


async def sees_all_sold(watch):
    """Check that the watch at the other replica loses nothing."""
    held = 0
    async with asyncio.timeout(10):
        while held < 50:
            event = await watch.read()
            levels = event.change.items or event.snapshot.items
            held = max([held, *(item.held for item in levels)])
    watch.cancel()


async def what_returns_is_sold(pair, sale, answers):
    """Check that a unit that is released at one replica is sold at the other."""
    held = next(answer for answer in answers if not isinstance(answer, Refused))
    await pair[0].reservations.ReleaseReservation(rs.ReleaseReservationRequest(name=held.name), timeout=30)

    async def is_sold():
        return not isinstance(await outcome(pair[1].reserve(sale, "late", "late", sneaker=1)), Refused)

    await eventually(is_sold, within=5)


async def test_health_tells_of_redis_but_readiness_does_not_mind(valkey, rest):
    async def told(status):
        answer = await rest.get("/health")
        return answer.status == 200 and answer.body["services_status"]["redis"] == status

    await eventually(lambda: told("UP"))
    valkey.kill()
    await eventually(lambda: told("DOWN"))
    assert (await rest.get("/health/ready")).status == 200
    valkey.start()
    await eventually(lambda: told("UP"), within=30)


async def test_without_redis_from_the_start_everything_works(cluster, shop, start_inventory, grpc_client, free_port):
    sale = await shop.open_sale(sneaker=5)
    unreachable = f"redis://127.0.0.1:{free_port()}/0"
    inventories = [start_inventory(cluster.database_url, unreachable), start_inventory(cluster.database_url)]
    for inventory in inventories:
        await inventory.is_serving()
        await grpc_client(inventory.address).reserve(sale, "c-1", sneaker=1)
    assert (await shop.item(sale, "sneaker")).held == 2
