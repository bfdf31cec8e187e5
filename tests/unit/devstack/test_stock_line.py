"""The live line shows the units of each item: available, held and sold."""

import asyncio

import grpc
import pytest

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast.inventory.v1.sale_service_pb2 import WatchStockResponse
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceServicer, add_SaleServiceServicer_to_server
from holdfast_devstack.stock_line import describe, follow


def test_items_are_listed_in_order():
    items = [Item(item="cap", available=7, held=2, sold=1), Item(item="mug", available=3)]
    assert describe("demo", items) == "demo (left/held/sold): cap 7/2/1  mug 3/0/0"


class FakeInventory(SaleServiceServicer):
    """Ends each watch at once with the next of `ends`; the last watch stays open."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.tokens = []
        self.watched = asyncio.Event()

    async def WatchStock(self, request, context):  # noqa: N802 - gRPC looks for this name
        self.tokens.append(request.resume_token)
        end = self.ends.pop(0) if self.ends else None
        if end is not grpc.StatusCode.UNIMPLEMENTED:
            event = WatchStockResponse(resume_token=f"t-{len(self.tokens)}")
            event.snapshot.items.append(Item(item="cap", available=len(self.tokens)))
            yield event
        if end is not None:
            await context.abort(end, "the end")
        self.watched.set()
        await asyncio.Event().wait()


class Shown:
    """A console that records its lines."""

    live_pause_seconds = 0.0

    def __init__(self):
        self.lines = []

    def show(self, text):
        self.lines.append(text)


@pytest.fixture
async def shown_of():
    """What the console shows of an inventory until a watch of it lasts."""

    async def shown(inventory):
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add_SaleServiceServicer_to_server(inventory, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        console = Shown()
        following = asyncio.create_task(follow(f"127.0.0.1:{port}", "demo", console))
        try:
            async with asyncio.timeout(20):
                await inventory.watched.wait()
        finally:
            following.cancel()
            await asyncio.wait([following])
            await server.stop(None)
        return console.lines

    return shown


async def test_a_watch_that_ends_is_resumed_silently_from_where_it_stood(shown_of):
    inventory = FakeInventory(*[grpc.StatusCode.UNAVAILABLE] * 3)
    shown = await shown_of(inventory)
    assert inventory.tokens == ["", "t-1", "t-2", "t-3"]
    assert all(line.startswith("demo (left/held/sold): cap") for line in shown)


async def test_a_watch_that_cannot_begin_is_reported(shown_of):
    inventory = FakeInventory(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED)
    shown = await shown_of(inventory)
    assert inventory.tokens == ["", "t-1", ""]
    assert "demo: cannot be watched at the moment (UNIMPLEMENTED: the end)" in shown
