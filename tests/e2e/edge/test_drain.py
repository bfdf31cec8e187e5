"""A stop of the edge: it becomes unready first, continues to serve, and drops nothing."""

import asyncio
import signal

import grpc
import pytest

from holdfast.inventory.v1 import (
    reservation_service_pb2,
    reservation_service_pb2_grpc,
    sale_service_pb2,
    sale_service_pb2_grpc,
)
from tests.support.eventually import eventually

CLIENTS = 16


async def is_unready(edge, rest):
    """Return whether a load balancer would consider it ready."""
    async with rest.get(f"{edge.url}/health/ready", headers={"connection": "close"}) as answer:
        return answer.status == 503


async def test_keep_alive_clients_and_fresh_ones_lose_nothing(start_edge, gateway, inventory, rest):
    edge = await start_edge([gateway], [inventory], drain_min_seconds=1, drain_quiet_seconds=0.5)
    left = asyncio.Event()
    answers = []

    async def shop():
        while not left.is_set():
            async with rest.post(f"{edge.url}/v1/sales", json={}) as answer:
                await answer.read()
                answers.append((answer.status, answer.headers.get("connection")))

    shoppers = [asyncio.create_task(shop()) for _ in range(CLIENTS)]
    async with asyncio.timeout(5):
        await gateway.arrived.wait()
    edge.terminate()
    await eventually(lambda: is_unready(edge, rest))
    during = len(answers)
    # The load balancer needs some time to send them elsewhere.
    await asyncio.sleep(0.5)
    left.set()
    await asyncio.gather(*shoppers)
    assert {status for status, _ in answers} == {200}
    assert len(answers) > during + CLIENTS
    assert answers[-1][1] == "close"
    assert len(answers) == len(gateway.requests)
    assert await edge.exit_code() == 0


async def test_grpc_clients_lose_nothing(start_edge, gateway, inventory, channel, rest):
    edge = await start_edge([gateway], [inventory], drain_min_seconds=1, drain_quiet_seconds=0.5)
    left = asyncio.Event()
    stub = reservation_service_pb2_grpc.ReservationServiceStub(channel(edge.target))
    done = []

    async def buy():
        while not left.is_set():
            await stub.GetReservation(reservation_service_pb2.GetReservationRequest(name="x"), timeout=5)
            done.append(1)

    buyers = [asyncio.create_task(buy()) for _ in range(CLIENTS)]
    await eventually(lambda: done)
    edge.terminate()
    await eventually(lambda: is_unready(edge, rest))
    await asyncio.sleep(0.5)
    left.set()
    await asyncio.gather(*buyers)
    assert len(done) == len(inventory.calls)
    assert await edge.exit_code() == 0


async def test_what_is_under_way_is_answered(edge, gateway, rest):
    waiting = asyncio.create_task(rest.post(f"{edge.url}/v1/wait", json={}))
    async with asyncio.timeout(5):
        await gateway.arrived.wait()
    edge.terminate()
    await eventually(lambda: edge.events("step_stopping"))
    await asyncio.sleep(1)  # After the quiet time, when only requests in progress delay the stop.
    gateway.let_go.set()
    async with await waiting as answer:
        assert answer.status == 200
    assert await edge.exit_code() == 0


async def test_idle_connections_are_closed_not_reset(edge):
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.ports["http"])
    writer.write(b"GET /v1/sales HTTP/1.1\r\nhost: edge\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n")
    await reader.readuntil(b"}")
    edge.terminate()
    async with asyncio.timeout(10):
        assert b"HTTP" not in await reader.read()
    writer.close()
    await writer.wait_closed()
    assert await edge.exit_code() == 0


async def test_watchers_are_cut_when_the_time_is_up(start_edge, gateway, inventory, rest, channel):
    edge = await start_edge([gateway], [inventory], finish_seconds=0.5)
    stub = sale_service_pb2_grpc.SaleServiceStub(channel(edge.target))
    watch = stub.WatchStock(sale_service_pb2.WatchStockRequest(name="sales/a"))
    assert await watch.read() is not grpc.aio.EOF
    async with rest.get(f"{edge.url}/v1/sales/a:watch") as events:
        await events.content.readline()
        edge.terminate()
        assert await edge.exit_code() == 0
    with pytest.raises(grpc.aio.AioRpcError) as cut:
        await watch.read()
    assert cut.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_metrics_can_be_scraped_during_the_drain(start_edge, gateway, inventory, rest):
    edge = await start_edge([gateway], [inventory], drain_min_seconds=2)
    edge.terminate()
    await eventually(lambda: is_unready(edge, rest))
    async with rest.get(f"{edge.metrics_url}/metrics") as answer:
        assert answer.status == 200
    for path, status in (("/health/ready", 503), ("/health/live", 200)):
        async with rest.get(edge.metrics_url + path) as answer:
            assert answer.status == status
    async with rest.get(f"{edge.url}/health/ready") as answer:
        assert answer.status == 503
        assert (await answer.json(content_type=None))["reason"] == "DRAINING"
    assert await edge.exit_code() == 0


async def test_a_second_signal_hurries(start_edge, gateway, inventory):
    edge = await start_edge([gateway], [inventory], drain_min_seconds=15)
    edge.terminate()
    await eventually(lambda: edge.events("step_stopping"))
    edge.terminate()
    async with asyncio.timeout(8):
        assert await edge.exit_code() == 0


async def test_when_envoy_ends_by_itself_the_edge_fails(edge, rest):
    async with rest.post(f"{edge.admin_url}/quitquitquit"):
        pass
    assert await edge.exit_code() == 1
    assert edge.events("envoy_ended")


async def test_envoy_does_not_outlive_a_killed_edge(edge):
    edge.send(signal.SIGKILL)
    assert await edge.exit_code() == -signal.SIGKILL

    async def is_gone():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", edge.ports["http"])
        except OSError:
            return True
        writer.close()
        return False

    await eventually(is_gone)


async def test_a_port_that_is_taken_is_an_error(edge, start_edge, gateway, inventory):
    with pytest.raises(AssertionError, match="cannot bind"):
        await start_edge([gateway], [inventory], http_port=edge.ports["http"])
