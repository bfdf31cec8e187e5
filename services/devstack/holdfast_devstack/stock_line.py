"""One line with a sale's current stock, from a watch."""

import asyncio
from collections.abc import Iterable

from holdfast.inventory.v1.sale_pb2 import Item
from holdfast_client import AsyncClient, HoldfastError, Policy
from holdfast_devstack.console import Console

# After this time without a connection, the line says so.
_POLICY = Policy(watch_patience_seconds=3.0)
_SECONDS_BEFORE_WATCHING_AGAIN = 1.0


async def follow(target: str, sale: str, console: Console, credential: str | None = None) -> None:
    """Show the stock of a sale after each change, until cancelled."""
    line = _Line()
    async with asyncio.TaskGroup() as tasks, AsyncClient(target, credential=credential, policy=_POLICY) as client:
        tasks.create_task(_draw(line, console))
        while True:
            try:
                await _watch(client, sale, line)
            except HoldfastError as error:
                line.set(f"{sale}: cannot be watched at the moment ({error})")
            await asyncio.sleep(_SECONDS_BEFORE_WATCHING_AGAIN)


async def _watch(client: AsyncClient, sale: str, line: "_Line") -> None:
    items: dict[str, Item] = {}
    async for event in client.watch_stock(name=f"sales/{sale}"):
        items |= {item.item: item for item in (*event.snapshot.items, *event.change.items)}
        line.set(describe(sale, items.values()))


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


async def _draw(line: _Line, console: Console) -> None:
    while True:
        await line.changed.wait()
        line.changed.clear()
        console.show(line.text)
        await asyncio.sleep(console.live_pause_seconds)
