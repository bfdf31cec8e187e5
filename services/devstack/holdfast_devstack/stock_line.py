"""One line with a sale's current stock, from a watch."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

import grpc

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast.inventory.v1.sale_service_pb2 import WatchStockRequest, WatchStockResponse
from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceStub
from holdfast_chassis import direct

if TYPE_CHECKING:
    from holdfast.inventory.v1.sale_service_pb2_grpc import SaleServiceAsyncStub

from holdfast_devstack.console import Console

_SECONDS_BEFORE_WATCHING_AGAIN = 1.0


async def follow(target: str, sale: str, console: Console, credential: str | None = None) -> None:
    """Show the stock of a sale after each change, until cancelled. Resume the watch when it ends."""
    line = _Line()
    options = direct.CHANNEL_OPTIONS
    async with asyncio.TaskGroup() as tasks, grpc.aio.insecure_channel(target, options=options) as channel:
        tasks.create_task(_draw(line, console))
        watch = _Watch(SaleServiceStub(channel), sale, line, credential)
        while True:
            if not await watch.follow():
                await asyncio.sleep(_SECONDS_BEFORE_WATCHING_AGAIN)


def describe(sale: str, items: Iterable[Item]) -> str:
    """Return the line: the units of each item that are left, held and sold."""
    levels = (f"{item.item} {item.available}/{item.held}/{item.sold}" for item in items)
    return f"{sale} (left/held/sold): {'  '.join(levels)}"


class _Line:
    """The newest text, which may change more often than it can be drawn."""

    def __init__(self) -> None:
        self.text = ""
        self.changed = asyncio.Event()

    def set(self, text: str) -> None:
        self.text = text
        self.changed.set()


class _Watch:
    """A watch of a sale's stock that resumes where it ended."""

    def __init__(self, stub: "SaleServiceAsyncStub", sale: str, line: _Line, credential: str | None) -> None:
        self._stub = stub
        self._sale = sale
        self._line = line
        self._metadata = () if credential is None else (("authorization", f"Bearer {credential}"),)
        self._items: dict[str, Item] = {}
        self._resume_token = ""

    async def follow(self) -> bool:
        """Watch until the watch ends. Return whether it sent an event: then it should resume at once."""
        told = False
        request = WatchStockRequest(name=f"sales/{self._sale}", resume_token=self._resume_token)
        try:
            async for event in self._stub.WatchStock(request, metadata=self._metadata):
                told = True
                self._take(event)
        except grpc.aio.AioRpcError as error:
            if not told:
                self._resume_token = ""
                self._line.set(f"{self._sale}: cannot be watched at the moment ({error.code().name})")
        return told

    def _take(self, event: WatchStockResponse) -> None:
        self._resume_token = event.resume_token
        self._items |= {item.item: item for item in (*event.snapshot.items, *event.change.items)}
        self._line.set(describe(self._sale, self._items.values()))


async def _draw(line: _Line, console: Console) -> None:
    while True:
        await line.changed.wait()
        line.changed.clear()
        console.show(line.text)
        await asyncio.sleep(console.live_pause_seconds)
