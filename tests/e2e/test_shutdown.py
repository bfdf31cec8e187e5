"""Signals: requests that have arrived are answered, and the process ends with exit code 0 if all is well."""

import asyncio
import itertools
import signal
from functools import partial

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import CALL_SECONDS, end_of, outcome
from lab.kit.metrics import total
from lab.kit.refusals import Refused
from tests.support.eventually import eventually
from tests.support.tcp_proxy import tcp_proxy

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]

# Long enough even on a slow machine: the delayed database is not given up in the meantime.
PATIENT = {"queue_wait_limit_seconds": 20, "database_transaction_seconds": 20}


@pytest.fixture(params=["grpc_aio", "envoy"])
def start_inventory(request, start_inventory):
    """Start inventories for this test, with both transports."""
    return partial(start_inventory, transport=request.param)


async def health_of(client, name=""):
    request = health_pb2.HealthCheckRequest(service=name)
    return (await health_pb2_grpc.HealthStub(client.channel).Check(request, timeout=CALL_SECONDS)).status


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
async def test_inventory_stops_on_each_signal(start_inventory, number):
    inventory = await start_inventory().is_serving()
    inventory.send(number)
    assert await inventory.exit_code() == 0, inventory.output
    assert inventory.events("step_stop_failed") == []


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
async def test_gateway_stops_on_each_signal(start_gateway, cluster, number):
    gateway = await start_gateway(*cluster.addresses).is_serving()
    gateway.send(number)
    assert await gateway.exit_code() == 0, gateway.output
    assert gateway.events("step_stop_failed") == []


async def test_call_in_progress_at_sigterm_is_completed(cluster, replicas, start_inventory, grpc_client):
    """PostgreSQL delays its answer while the process stops, and the buyer gets it nevertheless."""
    sale = await replicas[0].open_sale(sneaker=5)
    async with tcp_proxy(cluster.database_url) as proxy:
        inventory = await start_inventory(proxy.url, **PATIENT).is_serving()
        client = grpc_client(inventory.address)
        first = await client.reserve(sale, "c-1", sneaker=1)
        proxy.freeze()
        buying = asyncio.ensure_future(client.reserve(sale, "c-2", sneaker=1))
        await eventually(lambda: in_flight(inventory, 1), within=10)
        inventory.terminate()
        await inventory.says("step_stopping", step="server")
        assert not buying.done()
        proxy.thaw()
        second = await buying
        assert await inventory.exit_code() == 0, inventory.output
    assert (await replicas[1].get(second.name)).customer == "c-2"
    assert first.name != second.name
    await replicas[0].check_ledger(sale)


async def in_flight(inventory, calls):
    async with aiohttp.ClientSession() as session, session.get(inventory.metrics_url) as answer:
        return total(await answer.text(), "holdfast_calls_in_flight") == calls


async def test_200_calls_in_flight_at_sigterm_are_all_answered(cluster, replicas, start_inventory, grpc_client):
    """With the default drain, and requests that still arrive during it."""
    sale = await replicas[0].open_sale(sneaker=1_000_000)
    async with tcp_proxy(cluster.database_url) as proxy:
        drain = {"drain_quiet_seconds": 2, "drain_min_seconds": 3}
        inventory = await start_inventory(proxy.url, **PATIENT, **drain).is_serving()
        clients = [grpc_client(inventory.address) for _ in range(4)]
        await asyncio.gather(*(client.reserve(sale, "warm", sneaker=1) for client in clients))

        def burst():
            calls = (clients[n % 4].reserve(sale, f"c-{n}", sneaker=1) for n in range(200))
            return [asyncio.ensure_future(outcome(call)) for call in calls]

        proxy.freeze()
        before = burst()
        await eventually(lambda: in_flight(inventory, 200), within=10)
        inventory.terminate()
        await inventory.says("step_stopping", step="traffic")
        proxy.thaw()
        answers = await asyncio.gather(*before, *burst())
        assert await inventory.exit_code() == 0, inventory.output
    assert [answer for answer in answers if isinstance(answer, Refused)] == []
    assert len({answer.name for answer in answers}) == 400
    assert (await replicas[0].item(sale, "sneaker")).held == 404
    await replicas[0].check_ledger(sale)


async def test_a_draining_inventory_says_so_and_serves_on(replicas, start_inventory, grpc_client):
    sale = await replicas[0].open_sale(sneaker=5)
    inventory = await start_inventory(drain_quiet_seconds=1, drain_min_seconds=2).is_serving()
    client = grpc_client(inventory.address)
    watch = client.sales.WatchStock(ss.WatchStockRequest(name=sale), timeout=CALL_SECONDS)
    assert (await watch.read()).WhichOneof("event") == "snapshot"
    inventory.terminate()

    async def not_serving():
        return await health_of(client) == NOT_SERVING

    await eventually(not_serving)
    assert await health_of(client, "liveness") == SERVING
    assert await health_of(client, "holdfast.inventory.v1.ReservationService") == NOT_SERVING
    await client.reserve(sale, "c-1", sneaker=1)
    assert await end_of(watch) is grpc.StatusCode.UNAVAILABLE
    assert await inventory.exit_code() == 0, inventory.output


async def test_gateway_drops_nothing_of_keep_alive_clients_with_the_default_drain(
    shop, cluster, start_gateway, rest_client
):
    """Buyers continue while a port is open, and every request gets an answer."""
    sale = await shop.open_sale(sneaker=1_000_000)
    gateway = await start_gateway(*cluster.addresses, drain_quiet_seconds=2, drain_min_seconds=5).is_serving()
    buyers = [rest_client(gateway.url) for _ in range(24)]
    answers, leave = [], asyncio.Event()

    async def buy(client):
        while not leave.is_set():
            answers.append(await client.reserve(sale, "c", sneaker=1))
            await asyncio.sleep(0.01)

    buying = [asyncio.ensure_future(buy(client)) for client in buyers]
    await eventually(lambda: len(answers) >= 200)
    gateway.terminate()
    await gateway.says("step_stopping", step="traffic")
    before = len(answers)
    await eventually(lambda: len(answers) >= before + 500)
    # Endpoints have been removed by now, so clients go elsewhere.
    leave.set()
    await asyncio.gather(*buying)
    assert await gateway.exit_code() == 0, gateway.output
    assert {answer.status for answer in answers} == {200}
    assert answers[-1].headers["Connection"] == "close"
    assert (await shop.item(sale, "sneaker")).held == len(answers)
    await shop.check_ledger(sale)


async def test_a_rolling_restart_behind_the_gateway_drops_nothing(
    replicas, start_inventory, start_gateway, rest_client, free_port
):
    """One replica after the other is replaced at its address, while shoppers buy."""
    # Each sale belongs to one replica: there are enough sales for every replica to have some.
    sales = [await replicas[0].open_sale(sneaker=1_000_000) for _ in range(24)]
    drain = {"drain_quiet_seconds": 0.5, "drain_min_seconds": 1}
    ports = [free_port(), free_port()]
    old = [start_inventory(grpc_port=port, **drain) for port in ports]
    for inventory in old:
        await inventory.is_serving()
    rest = rest_client((await start_gateway(*old).is_serving()).url)
    answers, leave = [], asyncio.Event()

    async def buy(buyer):
        for sale in itertools.cycle(sales[buyer::8]):
            if leave.is_set():
                return
            answers.append(await rest.reserve(sale, f"c-{buyer}", sneaker=1))
            await asyncio.sleep(0.01)

    buying = [asyncio.ensure_future(buy(n)) for n in range(8)]
    for inventory, port in zip(old, ports, strict=True):
        inventory.terminate()
        assert await inventory.exit_code() == 0, inventory.output
        replacement = await start_inventory(grpc_port=port, **drain).is_serving()
        # The next one stops when this one gets its share.
        await replacement.says("call", method="holdfast.inventory.v1.ReservationService.Submit")
    leave.set()
    await asyncio.gather(*buying)
    assert {answer.status for answer in answers} == {200}
    assert sum([(await replicas[0].item(sale, "sneaker")).held for sale in sales]) == len(answers)
    for sale in sales:
        await replicas[0].check_ledger(sale)


async def test_second_sigterm_hurries(start_inventory, grpc_client):
    inventory = await start_inventory(drain_min_seconds=60, drain_max_seconds=60).is_serving()
    inventory.terminate()
    await inventory.says("step_stopping", step="traffic")
    inventory.terminate()
    await inventory.says("hurrying")
    assert await inventory.exit_code(15) == 0, inventory.output


async def test_third_sigterm_exits_at_once(start_inventory):
    inventory = await start_inventory(drain_min_seconds=60, drain_max_seconds=60).is_serving()
    inventory.terminate()
    await inventory.says("step_stopping", step="traffic")
    # Frozen, so that all signals have arrived before it reacts to the second one.
    inventory.send(signal.SIGSTOP)
    inventory.send(signal.SIGTERM)
    inventory.send(signal.SIGINT)
    inventory.send(signal.SIGCONT)
    assert await inventory.exit_code(15) == 130, inventory.output


async def test_sigterm_before_ready_ends_the_start(start_inventory, free_port):
    unreachable = f"postgresql://holdfast:secret@127.0.0.1:{free_port()}/holdfast"
    inventory = start_inventory(unreachable)
    await inventory.says("waiting for the database")
    inventory.terminate()
    assert await inventory.exit_code(15) == 0, inventory.output
    assert "secret" not in inventory.output


async def test_a_taken_port_is_said_and_ends_the_start(start_inventory, cluster):
    port = int(cluster.addresses[0].rpartition(":")[2])
    inventory = start_inventory(grpc_port=port)
    assert await inventory.exit_code(60) == 1
    assert f"cannot listen on 127.0.0.1:{port}" in inventory.output
