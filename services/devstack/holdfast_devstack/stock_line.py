"""One line that says how a sale's stock stands, kept current by watching it."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import grpc

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast.inventory.v1.sale_service_pb2 import WatchStockRequest
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub

if TYPE_CHECKING:
    from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceAsyncStub

from holdfast_devstack.console import Console

_SECONDS_BEFORE_WATCHING_AGAIN = 1.0


async def follow(target: str, sale: str, console: Console) -> None:
    """Shows the stock of a sale whenever it has changed, until cancelled; begins again when the watch ends."""
    line = _Line()
    async with asyncio.TaskGroup() as tasks, grpc.aio.insecure_channel(target) as channel:
        tasks.create_task(_draw(line, console))
        while True:
            try:
                await _watch(SaleServiceStub(channel), sale, line)
            except grpc.aio.AioRpcError as error:
                line.set(f"{sale}: cannot be watched at the moment ({error.code().name})")
            await asyncio.sleep(_SECONDS_BEFORE_WATCHING_AGAIN)


def describe(sale: str, items: Iterable[Item]) -> str:
    """The line: of each item how much is left, held and sold."""
    levels = (f"{item.item} {item.available}/{item.held}/{item.sold}" for item in items)
    return f"{sale} (left/held/sold): {'  '.join(levels)}"


class _Line:
    """The newest text, which may change far more often than it can be drawn."""

    def __init__(self) -> None:
        self.text = ""
        self.changed = asyncio.Event()

    def set(self, text: str) -> None:
        self.text = text
        self.changed.set()


async def _watch(stub: "SaleServiceAsyncStub", sale: str, line: _Line) -> None:
    items: dict[str, Item] = {}
    async for event in stub.WatchStock(WatchStockRequest(name=f"sales/{sale}")):
        items |= {item.item: item for item in (*event.snapshot.items, *event.change.items)}
        line.set(describe(sale, items.values()))


async def _draw(line: _Line, console: Console) -> None:
    while True:
        await line.changed.wait()
        line.changed.clear()
        console.show(line.text)
        await asyncio.sleep(console.live_pause_seconds)
