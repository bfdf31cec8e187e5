"""Floods against the inventory itself, over both transports: others are served, and memory stays as it was."""

import asyncio
import os
from pathlib import Path

import aiohttp
import grpc
import pytest

from holdfast.inventory.v1 import sale_service_pb2 as ss
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from lab.kit.metrics import total
from tests.support.eventually import eventually
from tests.support.http2 import (
    CANCEL,
    CONTINUATION,
    END_HEADERS,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    grpc_headers,
    literal,
)
from tests.support.services import NO_DRAIN, Inventory

PATH = b"/holdfast.inventory.v1.SaleService/GetSale"
MEGABYTE = 1_000_000
BOMB_MEGABYTES = 200
MOST_GROWTH_MEGABYTES = 64
CALL_SECONDS = 30


@pytest.fixture(params=["grpc_aio", "envoy"])
def inventory(request, database_url):
    with Inventory(database_url, transport=request.param, **NO_DRAIN) as inventory:
        yield inventory.wait_until_serving()


def resident_megabytes(service):
    """Return the memory of a service and of its children."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (service.pid, *children))
    return pages * os.sysconf("SC_PAGESIZE") / MEGABYTE


async def is_served(inventory):
    async with grpc.aio.insecure_channel(inventory.address) as channel:
        listed = await SaleServiceStub(channel).ListSales(ss.ListSalesRequest(), timeout=CALL_SECONDS)
    return list(listed.sales) == []


async def connected(inventory):
    host, port = inventory.address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS, 0))
    return reader, writer


async def send(writer, pieces):
    """Send pieces until all are sent or the server has closed the connection. Return whether it has."""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        return True
    return False


async def flood(inventory, pieces):
    """Send pieces over a connection of their own, while another caller is served, and close it."""
    reader, writer = await connected(inventory)
    reading = asyncio.create_task(_read_all(reader))
    try:
        async with asyncio.timeout(CALL_SECONDS * 2):
            sending = asyncio.create_task(send(writer, pieces))
            assert await is_served(inventory)
            await sending
    finally:
        reading.cancel()
        writer.close()


async def _read_all(reader):
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass


async def test_headers_continued_without_end_take_no_memory(inventory):
    before = resident_megabytes(inventory)
    more = frame(CONTINUATION, 1, literal(b"x-a", b"a" * 15_000))
    first = frame(HEADERS, 1, grpc_headers(PATH))
    await flood(inventory, [first, *[more] * 4000])
    assert resident_megabytes(inventory) - before < MOST_GROWTH_MEGABYTES


async def test_rapid_resets_leave_no_call_behind(inventory):
    before = resident_megabytes(inventory)
    call = grpc_headers(PATH)
    resets = (
        frame(HEADERS, number, call, END_HEADERS) + frame(RST_STREAM, number, CANCEL) for number in range(1, 20_001, 2)
    )
    await flood(inventory, resets)

    async with aiohttp.ClientSession() as session:

        async def is_idle():
            async with session.get(inventory.metrics_url) as answer:
                return total(await answer.text(), "holdfast_calls_in_flight") == 0

        await eventually(is_idle)
    assert await is_served(inventory)
    assert resident_megabytes(inventory) - before < MOST_GROWTH_MEGABYTES


async def test_a_bomb_of_200_megabytes_is_not_inflated(inventory):
    before = resident_megabytes(inventory)
    options = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(inventory.address, options, grpc.Compression.Gzip) as channel:
        call = channel.unary_unary(PATH.decode())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(bytes(BOMB_MEGABYTES * MEGABYTE), timeout=CALL_SECONDS * 2)
    assert refused.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
    assert await is_served(inventory)
    assert resident_megabytes(inventory) - before < MOST_GROWTH_MEGABYTES
