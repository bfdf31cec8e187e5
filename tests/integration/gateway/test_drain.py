"""A stopping gateway drops nothing."""

import asyncio
import os
import sys
import time
from contextlib import ExitStack

import aiohttp
import pytest

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from tests.support.services import Gateway

RESERVATIONS = "/v1/sales/s/reservations"
BODY = {"customer": "c", "lines": [{"item": "a", "quantity": 1}]}
CLIENTS = 24


@pytest.fixture
async def start_process(inventory):
    """Start gateways as they are deployed: processes that get signals."""
    with ExitStack() as started:

        async def start(**settings):
            gateway = started.enter_context(Gateway([f"127.0.0.1:{inventory.port}"], **settings))
            return await gateway.is_serving()

        yield start


async def buy_until_refused(session, base, outcomes):
    """Buy repeatedly until no process listens any more. Count the answers."""
    while True:
        try:
            async with session.post(base + RESERVATIONS, json=BODY) as response:
                await response.read()
                outcomes.append(response.status)
        except aiohttp.ClientConnectorError:
            return
        except aiohttp.ClientError as error:
            outcomes.append(repr(error))
            return


async def test_keep_alive_clients_lose_nothing(start_process, inventory):
    process = await start_process(drain_min_seconds=1, drain_max_seconds=2)
    outcomes = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        buyers = [asyncio.ensure_future(buy_until_refused(session, process.url, outcomes)) for _ in range(CLIENTS)]
        await asyncio.sleep(1)
        process.terminate()
        async with asyncio.timeout(20):
            await asyncio.gather(*buyers)
        assert await process.exit_code(20) == 0
    assert len(outcomes) > 10 * CLIENTS
    assert set(outcomes) == {200}


async def test_a_drain_is_announced_while_serving_goes_on(start_process, inventory):
    process = await start_process(drain_min_seconds=1, drain_quiet_seconds=0.5)
    async with aiohttp.ClientSession() as session:

        async def ask(path):
            async with session.get(process.url + path) as response:
                return response.status, response.headers

        assert (await ask("/health/ready"))[0] == 200
        assert "Connection" not in (await ask("/v1/sales/s/items/i"))[1]
        process.terminate()
        await process.says("step_stopping")
        assert (await ask("/health/ready"))[0] == 503
        assert (await ask("/health/live"))[0] == 200
        status, headers = await ask("/v1/sales/s/items/i")
        assert (status, headers["Connection"]) == (200, "close")
        assert headers["x-envoy-immediate-health-check-fail"] == "true"
        assert await process.exit_code(20) == 0


async def test_what_is_in_flight_is_finished(start_process, inventory):
    process = await start_process(drain_min_seconds=0, drain_quiet_seconds=0)
    begun = asyncio.Event()

    async def slowly(request, context):
        begun.set()
        await asyncio.sleep(2)
        return rs.SubmitResponse(outcomes=[inventory.outcome(request.parent, c) for c in request.commands])

    inventory.answers["Submit"] = slowly
    async with aiohttp.ClientSession() as session:
        buying = asyncio.ensure_future(session.post(process.url + RESERVATIONS, json=BODY))
        await begun.wait()
        process.terminate()
        async with await buying as response:
            assert response.status == 200
    assert await process.exit_code(20) == 0


async def test_a_second_signal_hurries(start_process):
    process = await start_process(drain_min_seconds=60, drain_max_seconds=60)
    began_at = time.monotonic()
    process.terminate()
    await process.says("step_stopping")
    process.terminate()
    assert await process.exit_code(20) == 0
    assert time.monotonic() - began_at < 10


async def test_health_as_a_command(start_process, inventory):
    process = await start_process(drain_min_seconds=0, drain_quiet_seconds=0)
    port = process.metrics_port

    async def health(port):
        environment = os.environ | {"HOLDFAST_METRICS_HOST": "127.0.0.1", "HOLDFAST_GATEWAY_METRICS_PORT": port}
        command = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "holdfast_gateway",
            "health",
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await command.wait()

    assert await health(port) == 0
    process.terminate()
    await process.exit_code(20)
    assert await health(port) == 1


async def test_a_port_that_is_taken_is_said(start_gateway):
    gateway = await start_gateway()
    port = gateway.app.http.bound_port
    with pytest.raises(AssertionError):
        await start_gateway(http_port=port)
