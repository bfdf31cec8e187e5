"""The real Envoy, run as it is in production, in front of fake services."""

import asyncio
import json
import os
import signal
import sys

import aiohttp
import grpc
import pytest

from tests.e2e.edge.fakes import FakeGateway, FakeInventory

START_SECONDS = 20
STOP_SECONDS = 20


class Edge:
    """A running edge."""

    def __init__(self, process, log_path, ports):
        self.process = process
        self.log_path = log_path
        self.ports = ports
        self.url = f"http://127.0.0.1:{ports['http']}"
        self.target = f"127.0.0.1:{ports['http']}"
        self.metrics_url = f"http://127.0.0.1:{ports['metrics']}"
        self.admin_url = f"http://127.0.0.1:{ports['admin']}"

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self):
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()

    def log(self, event):
        """The lines of this event that it has logged."""
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    async def stat(self, name):
        """The value of one of Envoy's counters or gauges."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin_url}/stats?filter=^{name}$") as answer:
            return int((await answer.text()).partition(": ")[2])


@pytest.fixture
async def start_edge(tmp_path, free_port):
    """Starts edges; what is left of them is killed at the end."""
    edges = []

    async def start(gateways, inventories, **settings):
        ports = {name: free_port() for name in ("http", "tls", "metrics", "admin")}
        settings = {
            "host": "127.0.0.1",
            "metrics_host": "127.0.0.1",
            "threads": 1,
            "gateways": ",".join(each if isinstance(each, str) else each.address for each in gateways),
            "inventories": ",".join(each if isinstance(each, str) else each.address for each in inventories),
            "drain_quiet_seconds": 0.2,
            "drain_min_seconds": 0.2,
            "finish_seconds": 3,
            **{f"{name}_port": port for name, port in ports.items()},
            **settings,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        environment |= {f"HOLDFAST_EDGE_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= {"HOLDFAST_LOG_FORMAT": "json", "HOLDFAST_CORS_ORIGINS": "https://shop.example"}
        log_path = tmp_path / f"edge-{len(edges)}.log"
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "holdfast_edge", "serve", env=environment, stdout=log, stderr=log
            )
        edge = Edge(process, log_path, ports)
        edges.append(edge)
        async with asyncio.timeout(START_SECONDS):
            while not edge.log("serving"):
                assert process.returncode is None, log_path.read_text()
                await asyncio.sleep(0.02)
        return edge

    yield start
    for edge in edges:
        if edge.process.returncode is None:
            edge.process.kill()  # Envoy is ended by the kernel then.
            await edge.process.wait()


@pytest.fixture
async def start_gateway():
    """Starts fake gateways."""
    started = []

    async def start(name="gateway", port=0):
        gateway = FakeGateway(name, port)
        started.append(gateway)
        await gateway.start()
        return gateway

    yield start
    for gateway in started:
        await gateway.stop()


@pytest.fixture
async def start_inventory():
    """Starts fake inventories."""
    started = []

    async def start(name="inventory"):
        inventory = FakeInventory(name)
        started.append(inventory)
        await inventory.start()
        return inventory

    yield start
    for inventory in started:
        await inventory.stop()


@pytest.fixture
async def gateway(start_gateway):
    """A fake gateway."""
    return await start_gateway()


@pytest.fixture
async def inventory(start_inventory):
    """A fake inventory."""
    return await start_inventory()


@pytest.fixture
async def edge(start_edge, gateway, inventory):
    """An edge in front of one of each."""
    return await start_edge([gateway], [inventory])


@pytest.fixture
async def rest():
    """A client that keeps its connections alive."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
        yield session


@pytest.fixture
async def channel():
    """Opens gRPC channels."""
    channels = []

    def open_channel(target, credentials=None):
        if credentials is None:
            opened = grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])
        else:
            opened = grpc.aio.secure_channel(target, credentials, options=[("grpc.use_local_subchannel_pool", 1)])
        channels.append(opened)
        return opened

    yield open_channel
    for opened in channels:
        await opened.close()
