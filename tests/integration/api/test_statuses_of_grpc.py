"""Statuses that gRPC itself produces, without a reason of Holdfast, are those of docs/clients.md."""

import asyncio
import socket
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from holdfast.inventory.v1 import sale_service_pb2 as sp
from lab.kit.refusals import reason_of
from tests.support.service import running_service

PAGE = Path(__file__).parents[3] / "docs/clients.md"
QUICK_AGES = {
    "connection_age_seconds": 1,
    "connection_age_grace_seconds": 2.5,
    "watch_heartbeat_seconds": 0.2,
    "watch_reader_seconds": 0.5,
}
BOUND_SECONDS = 60


def told():
    """Return the code and the text of each row."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {
        (code.strip(), word.strip(" `"))
        for _, codes, words, *_ in rows
        for code in codes.split(",")
        for word in words.split(",")
    }


def check(error):
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata() or ())
    words = [word for code, word in told() if code == error.code().name and word]
    assert any(word in error.details() for word in words), (error.code(), error.details())


def channel_to(address, **options):
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), *options.items()])


async def error_of(call):
    async with asyncio.timeout(BOUND_SECONDS):
        try:
            while not isinstance(call, grpc.aio.UnaryUnaryCall) and await call.read():
                pass
            await call
        except grpc.aio.AioRpcError as error:
            return error
    raise AssertionError("it did not fail")


def raw_call(channel, method, content=b"", **options):
    return channel.unary_unary(f"/holdfast.inventory.v1.SaleService/{method}")(content, **options)


@pytest.mark.parametrize(
    ("method", "content", "options", "code"),
    [
        ("Unknown", b"", {}, grpc.StatusCode.UNIMPLEMENTED),
        ("GetSale", bytes(4_194_305), {}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("GetSale", b"", {"metadata": (("x-long", "x" * 100_000),)}, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["an unknown method", "a large request", "large metadata"],
)
async def test_a_call_that_grpc_refuses(service, method, content, options, code):
    async with channel_to(service.app.server.address) as channel:
        error = await error_of(raw_call(channel, method, content, **options))
    assert error.code() is code
    check(error)


async def test_a_deadline_that_passes_at_the_client():
    """The connection is opened, and then nothing is sent."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with channel_to("127.0.0.1:{1}".format(*silent.getsockname())) as channel:
            error = await error_of(raw_call(channel, "GetSale", timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    check(error)


async def test_an_answer_that_is_too_large_for_the_client(service):
    await service.create_sale(**{f"item-{number}": 1 for number in range(100)})
    async with channel_to(service.app.server.address, **{"grpc.max_receive_message_length": 1000}) as channel:
        content = sp.ListItemsRequest(parent="sales/drop-1").SerializeToString()
        error = await error_of(raw_call(channel, "ListItems", content))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    check(error)


async def test_no_process_listens(free_port):
    async with channel_to(f"127.0.0.1:{free_port()}") as channel:
        error = await error_of(raw_call(channel, "GetSale"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    check(error)


async def test_a_stream_of_reflection_on_a_connection_that_has_grown_old(database_url):
    async with (
        running_service(database_url, **QUICK_AGES) as service,
        channel_to(service.app.server.address) as channel,
    ):
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services="*"))
        error = await error_of(stream)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    check(error)


async def test_a_client_that_pings_too_often(service):
    often = {
        "grpc.keepalive_time_ms": 100,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,
    }
    async with channel_to(service.app.server.address, **often) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(
            health_pb2.HealthCheckRequest().SerializeToString()
        )
        error = await error_of(watch)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    check(error)


async def test_metadata_has_one_limit_and_beyond_it_a_reason(service):
    await service.create_sale(cap=1)
    request = sp.GetSaleRequest(name="sales/drop-1")
    for _ in range(20):
        assert await service.sales.GetSale(request, metadata=(("x-long", "x" * 11_500),))
        for size in (12_300, 14_000, 20_000, 50_000):
            error = await error_of(service.sales.GetSale(request, metadata=(("x-long", "x" * size),)))
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "HEADERS_TOO_LARGE")
