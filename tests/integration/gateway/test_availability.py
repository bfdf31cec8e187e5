"""Replicas of the inventory that are down, unhealthy, frozen, or back again."""

import asyncio
import socket
import time

import pytest

from lab.kit.rest_client import RestClient

RESERVATIONS = "/v1/sales/s/reservations"
BODY = {"customer": "c", "lines": [{"item": "a", "quantity": 1}]}


@pytest.fixture
def unreachable():
    """Return the address of a port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def black_hole():
    """Return an address that accepts connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        yield f"127.0.0.1:{silent.getsockname()[1]}"


async def refused_within(gateway, seconds):
    """Check that both kinds of call are refused in that time."""
    began_at = time.monotonic()
    for method, path, body in (("POST", RESERVATIONS, BODY), ("GET", "/v1/sales/s/items/i", None)):
        status, problem, headers = await gateway.send(method, path, json=body)
        assert (status, problem["reason"], problem["retryable"]) == (503, "INVENTORY_UNAVAILABLE", True)
        assert int(headers["Retry-After"]) >= 1
    assert time.monotonic() - began_at < 2 * seconds


async def test_without_any_replica_the_refusal_comes_at_once(start_gateway, unreachable):
    await refused_within(await start_gateway(f"ipv4:{unreachable}"), seconds=1.5)


async def test_a_replica_that_accepts_and_is_silent_does_not_hang_calls(start_gateway, black_hole):
    await refused_within(await start_gateway(f"ipv4:{black_hole}", connect_wait_seconds=0.5), seconds=1.5)


async def test_a_replica_that_is_not_serving_gets_no_calls(start_gateway, inventory, not_serving):
    inventory.health = dict.fromkeys(inventory.health, not_serving)
    gateway = await start_gateway()
    await refused_within(gateway, seconds=1.5)
    assert inventory.submits == []


async def test_one_replica_of_two_is_enough(start_gateway, inventory, unreachable):
    gateway = await start_gateway(f"ipv4:{unreachable},127.0.0.1:{inventory.port}")
    for _ in range(10):
        status, _, _ = await gateway.send("POST", RESERVATIONS, json=BODY)
        assert status == 200


async def test_a_replica_that_comes_back_is_used_again(start_gateway, inventory):
    gateway = await start_gateway()
    port = inventory.port
    await inventory.stop()
    await refused_within(gateway, seconds=1.5)
    await inventory.start(port)
    async with asyncio.timeout(10):
        while (await gateway.send("POST", RESERVATIONS, json=BODY))[0] != 200:
            pass  # each refusal takes some time because the retries back off


async def test_readiness_follows_inventory_and_liveness_does_not(start_gateway, unreachable):
    gateway = await start_gateway(f"ipv4:{unreachable}")
    ready, document, _ = await gateway.send("GET", "/health/ready")
    live, _, _ = await gateway.send("GET", "/health/live")
    startup, _, _ = await gateway.send("GET", "/health/startup")
    assert (ready, live, startup) == (503, 200, 200)
    assert document["checks"]["inventory"]["status"] == "DOWN"
    assert document["checks"]["inventory"]["error"]


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_it_is_reached_on_every_address_of_its_machine(start_gateway, address):
    gateway = await start_gateway(http_host="::", metrics_host="::", allow_anonymous=True)
    async with RestClient(f"http://{address}:{gateway.app.http.bound_port}") as client:
        assert (await client.send("GET", "/health/live"))[0] == 200
