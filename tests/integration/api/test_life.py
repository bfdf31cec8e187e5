"""How the service starts, says that it is ready, drains and stops."""

import asyncio
import os
import subprocess
import sys
import urllib.request

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import sale_service_pb2 as sp
from holdfast_chassis.contract import SERVICE_NAMES
from holdfast_inventory.app import App
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports import grpc_aio
from holdfast_inventory.transports.health import LIVENESS
from lab.kit.refusals import reason_of
from tests.support.service import QUICK, running_service
from tests.support.tcp_proxy import tcp_proxy

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def scraped(service):
    def scrape():
        with urllib.request.urlopen(f"http://127.0.0.1:{service.app.metrics.bound_port}/metrics", timeout=5) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(scrape)


async def test_every_name_serves_once_it_has_started(service):
    listed = (await service.health.List(health_pb2.HealthListRequest())).statuses
    assert {name: answer.status for name, answer in listed.items()} == dict.fromkeys(
        ("", *SERVICE_NAMES, LIVENESS, "database"), SERVING
    )


async def test_connections_over_the_limit_are_closed_at_once(database_url):
    async with running_service(database_url, connection_limit=3) as service:
        port = int(service.app.server.address.rpartition(":")[2])
        # One is the service's own channel, which may not have been opened yet.
        assert await service.status() == SERVING
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        for _, writer in opened:
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        async with asyncio.timeout(10):
            served = [bool(await reader.read(9)) for reader, _ in opened]
        for _, writer in opened:
            writer.close()
        assert served == [True, True, False, False, False, False]


async def test_what_is_asked_while_it_drains_is_served_and_nothing_is_lost(database_url):
    async with running_service(database_url, drain_quiet_seconds=0.5, drain_min_seconds=0.5) as service:
        await service.create_sale(cap=10_000)
        watch = aiter(service.sales.WatchStock(sp.WatchStockRequest(name="sales/drop-1")))
        assert (await anext(watch)).snapshot.sequence == 1
        stopping = asyncio.Event()

        async def buyer(number):
            bought = 0
            while not stopping.is_set():
                await service.hold(f"c-{number}", cap=1)
                bought += 1
            return bought

        buyers = [asyncio.create_task(buyer(number)) for number in range(20)]
        while service.app._calls.arrivals.count < 100:
            await service.hold("c-x", cap=1)
        stop = asyncio.create_task(service.app.lifecycle.stop())
        await service.wait_for_status(NOT_SERVING)
        assert await service.status(LIVENESS) == SERVING
        late = await service.hold("c-late", cap=1)
        stopping.set()
        bought = sum(await asyncio.gather(*buyers))
        await stop
        assert late.name
        assert bought > 0
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            _ = [event async for event in watch]
        assert reason_of(ended.value) == "DRAINING"


async def test_readiness_follows_the_database_and_liveness_does_not(database_url):
    async with tcp_proxy(database_url) as proxy, running_service(proxy.url) as service:
        await service.create_sale(cap=5)
        proxy.accepts = False
        proxy.reset()
        await service.wait_for_status(NOT_SERVING)
        assert await service.status(LIVENESS) == SERVING
        assert await service.status("database") == NOT_SERVING
        proxy.accepts = True
        await service.wait_for_status(SERVING)
        assert (await service.hold(cap=1)).name


async def test_readiness_does_not_follow_redis(database_url, free_port):
    url = f"redis://127.0.0.1:{free_port()}/0"
    async with running_service(database_url, redis_url=url) as service:
        await service.wait_for_status(NOT_SERVING, "redis")
        assert await service.status() == SERVING


async def test_redis_is_reported(database_url, valkey_url):
    async with running_service(database_url, redis_url=valkey_url) as service:
        await service.wait_for_status(SERVING, "redis")


async def test_metrics_tell_of_calls_batches_stock_statements_and_connections(service):
    await service.create_sale(cap=5)
    await service.hold(cap=2)
    exposition = await scraped(service)
    for line in (
        'grpc_server_handled_total{grpc_code="OK",grpc_method="CreateReservation",',
        "holdfast_batch_commands_count 1.0",
        "holdfast_queue_wait_seconds_count 1.0",
        'holdfast_outcomes_total{method="CreateReservation",reason="OK"} 1.0',
        'holdfast_stock_units{item="cap",level="held",sale="drop-1"} 2.0',
        "holdfast_query_seconds_count{",
        'holdfast_database_connections{kind="writers"}',
        "holdfast_expiry_lag_seconds",
        'holdfast_lifecycle_phase{phase="serving"} 1.0',
        "holdfast_ready 1.0",
    ):
        assert line in exposition


async def test_it_waits_for_migrations_but_not_for_ever(empty_database_url):
    settings = InventorySettings(
        database_url=empty_database_url,
        **QUICK | {"grpc_port": 0, "metrics_port": 0, "database_wait_seconds": 0.5, "grpc_host": "127.0.0.1"},
    )
    app = App(settings, "test", grpc_aio.Server)
    assert not await app.lifecycle.start()
    await app.lifecycle.stop()
    assert app.lifecycle.exit_code == 1


async def test_it_migrates_if_that_is_wanted(empty_database_url):
    async with running_service(empty_database_url, migrate_on_start=True) as service:
        assert (await service.create_sale(cap=1)).name == "sales/drop-1"


@pytest.mark.parametrize("address", ["ipv4:127.0.0.1", "ipv6:%5B::1%5D"])
async def test_it_is_reached_on_every_address_of_its_machine(database_url, address):
    hosts = {"grpc_host": "::", "metrics_host": "::", "allow_anonymous": True}
    async with running_service(database_url, **hosts) as service:
        port = service.app.server.address.rpartition(":")[2]
        async with grpc.aio.insecure_channel(f"{address}:{port}") as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_port_that_is_taken_is_said(database_url, service):
    port = int(service.app.server.address.rpartition(":")[2])
    settings = InventorySettings(
        database_url=database_url, **QUICK | {"grpc_host": "127.0.0.1", "grpc_port": port, "metrics_port": 0}
    )
    app = App(settings, "test", grpc_aio.Server)
    with pytest.raises(OSError, match="is the port taken"):
        await app.server.start()


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "holdfast_inventory", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_the_health_command_says_whether_it_serves(service, free_port):
    port = str(service.app.metrics.bound_port)
    known = {"DATABASE_URL": "postgresql://not-asked", "HOLDFAST_METRICS_HOST": "127.0.0.1"}
    asked = await asyncio.to_thread(command, "health", HOLDFAST_METRICS_PORT=port, **known)
    refused = await asyncio.to_thread(command, "health", HOLDFAST_METRICS_PORT=str(free_port()), **known)
    assert (asked.returncode, asked.stdout) == (0, "SERVING\n")
    assert refused.returncode == 1
    assert refused.stderr.startswith("the service does not answer: ")


def test_the_migrate_command_says_what_it_does(empty_database_url):
    ran = [command("migrate", *arguments, DATABASE_URL=empty_database_url) for arguments in (["--dry-run"], [], [])]
    assert [each.returncode for each in ran] == [0, 0, 0]
    assert [each.stdout.splitlines()[-1].split()[0] for each in ran] == ["would", "ran", "nothing"]


def test_unusable_settings_are_all_told():
    refused = command("serve", HOLDFAST_GRPC_PORT="many", HOLDFAST_DRAIN_QUIT_SECONDS="1")
    assert refused.returncode == 2
    for fault in ("DATABASE_URL", "HOLDFAST_GRPC_PORT", "did you mean HOLDFAST_DRAIN_QUIET_SECONDS?"):
        assert fault in refused.stderr
