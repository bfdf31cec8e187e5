"""After a load is over, neither service has more tasks, calls, connections or memory than before."""

import asyncio
import os
from pathlib import Path

import aiohttp

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.kit.grpc_client import CALL_SECONDS, outcome
from lab.kit.metrics import total
from tests.support.eventually import eventually
from tests.support.services import TRANSPORT

RESERVATIONS = 3000
# lab/bench measures memory exactly; this test only finds large leaks.
MOST_MEGABYTES = 200 if TRANSPORT == "envoy" else 120
MOST_GROWTH_MEGABYTES = 12


def resident_megabytes(service):
    pages = int(Path(f"/proc/{service.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def open_files(service):
    return len(list(Path(f"/proc/{service.pid}/fd").iterdir()))


async def gauge(session, url, name):
    async with session.get(url) as answer:
        return total(await answer.text(), name)


async def put_load_on(inventory, gateway, grpc_client, rest_client, sale):
    """Send reservations, refused requests, abandoned watches and cancelled calls, over both transports."""
    client, rest = grpc_client(inventory.address), rest_client(gateway.url)
    watch = client.sales.WatchStock(ss.WatchStockRequest(name=sale), timeout=CALL_SECONDS)
    await watch.read()

    async def buy(buyer):
        for number in range(RESERVATIONS // 100):
            await client.reserve(sale, f"c-{buyer}", f"g-{number}", sneaker=1)
            await rest.reserve(sale, f"c-{buyer}", f"r-{number}", sneaker=1)
            await outcome(client.reserve(sale, f"c-{buyer}", sneaker=1_000_000))

    await asyncio.gather(*(buy(n) for n in range(50)))
    async with rest.stream(f"/v1/{sale}:watch") as response:
        await response.content.readline()
    given_up = [asyncio.ensure_future(client.reserve(sale, "c", sneaker=1)) for _ in range(50)]
    await asyncio.sleep(0)
    for call in given_up:
        call.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    await client.close()
    await rest.close()


async def test_load_leaves_nothing_behind(shop, start_inventory, start_gateway, grpc_client, rest_client):
    sale = await shop.open_sale(sneaker=1_000_000)
    inventory = await start_inventory().is_serving()
    gateway = await start_gateway(inventory).is_serving()
    services = (inventory, gateway)
    load = inventory, gateway, grpc_client, rest_client, sale
    await put_load_on(*load)
    memory = [resident_megabytes(service) for service in services]
    async with aiohttp.ClientSession() as session:

        async def idle():
            async with session.get(f"{gateway.url}/health") as answer:
                tasks = (await answer.json())["tasks"]
            calls = await gauge(session, inventory.metrics_url, "holdfast_calls_in_flight")
            watches = await gauge(session, inventory.metrics_url, "holdfast_open_watches")
            waiting = await gauge(session, inventory.metrics_url, "holdfast_waiting_commands")
            return (calls, watches, waiting) == (0, 0, 0) and tasks

        tasks = await eventually(idle)
        files = [open_files(service) for service in services]
        await put_load_on(*load)
        await eventually(idle)

        async def as_before():
            return await idle() <= tasks and all(
                open_files(service) <= before + 2 for service, before in zip(services, files, strict=True)
            )

        await eventually(as_before)
    grown = [resident_megabytes(service) - before for service, before in zip(services, memory, strict=True)]
    assert max(grown) < MOST_GROWTH_MEGABYTES, grown
    assert max(memory) < MOST_MEGABYTES, memory
    await shop.check_ledger(sale)
