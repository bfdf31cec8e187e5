"""grpc.health.v1 over a real server."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from holdfast_inventory.api.calls import CallLimits, Calls
from holdfast_inventory.metrics import CallMetrics
from holdfast_inventory.transports.health import LIVENESS, SERVICE, Health, Serving
from holdfast_inventory.watches.lifetime import Lifetime
from lab.kit.refusals import reason_of
from tests.support import transports

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


LIFETIME = Lifetime(100.0, 200.0)


@pytest.fixture
async def health():
    return Health(LIFETIME, heartbeat_seconds=100.0)


@pytest.fixture
async def stub(health):
    async with served(health) as stub:
        yield stub


@asynccontextmanager
async def served(health):
    calls = Calls(CallLimits(), CallMetrics(CollectorRegistry()))
    async with (
        transports.served(calls.probes(SERVICE, health)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield health_pb2_grpc.HealthStub(channel)


def request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


async def end_of(watch):
    """Return the status code and the reason at its end."""
    try:
        while await watch.read():
            pass
    except grpc.aio.AioRpcError as error:
        return error.code(), reason_of(error)


async def test_nothing_serves_before_it_is_set(stub):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Check(request())
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


async def test_check_tells_the_state_of_a_name(stub, health):
    health.set({"": Serving.NOT_SERVING, LIVENESS: Serving.SERVING})
    assert (await stub.Check(request())).status == NOT_SERVING
    assert (await stub.Check(request("liveness"))).status == SERVING


async def test_list_tells_all(stub, health):
    health.set({"": Serving.NOT_SERVING, "redis": Serving.SERVING})
    listed = (await stub.List(health_pb2.HealthListRequest())).statuses
    assert {name: answer.status for name, answer in listed.items()} == {"": NOT_SERVING, "redis": SERVING}


async def test_watch_tells_each_change_and_an_unknown_name(stub, health):
    watch = stub.Watch(request("x"))
    assert (await watch.read()).status == UNKNOWN
    health.set({"x": Serving.SERVING})
    assert (await watch.read()).status == SERVING
    health.set({"x": Serving.SERVING, "other": Serving.SERVING})
    health.set({"x": Serving.NOT_SERVING})
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_watches_end_when_the_server_drains_and_no_new_ones_begin(stub, health):
    watch = stub.Watch(request())
    await watch.read()
    health.end_watches()
    assert await end_of(watch) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert await end_of(stub.Watch(request())) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_stalled_watcher_delays_no_other(stub, health):
    stalled, lively = stub.Watch(request()), stub.Watch(request())
    await asyncio.gather(stalled.read(), lively.read())
    for state in (Serving.SERVING, Serving.NOT_SERVING) * 100:
        health.set({"": state})
    async with asyncio.timeout(5):
        assert (await lively.read()).status == NOT_SERVING
    stalled.cancel()
    lively.cancel()


async def test_watches_are_bounded(stub, health):
    watches = [stub.Watch(request()) for _ in range(200)]
    await asyncio.gather(*(watch.read() for watch in watches))
    assert await end_of(stub.Watch(request())) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    for watch in watches:
        watch.cancel()


async def test_a_quiet_watch_says_again_what_it_has_said():
    health = Health(LIFETIME, heartbeat_seconds=0.05)
    health.set({"": Serving.SERVING})
    async with served(health) as stub, asyncio.timeout(10):
        watch = stub.Watch(request())
        assert [(await watch.read()).status for _ in range(3)] == [SERVING] * 3
        watch.cancel()


async def test_a_watch_ends_by_itself_when_it_has_lasted_its_time():
    health = Health(Lifetime(0.2, 0.4), heartbeat_seconds=0.1)
    async with served(health) as stub, asyncio.timeout(10):
        assert await end_of(stub.Watch(request())) == (grpc.StatusCode.ABORTED, "WATCH_EXPIRED")
