"""The real Envoy, run as it is in production, in front of fake services."""

import aiohttp
import grpc
import pytest

from lab.kit.service import Service
from tests.e2e.edge.fakes import FakeGateway, FakeInventory


class Edge(Service):
    """A running edge."""

    def __init__(self, ports, wanted):
        super().__init__("holdfast_edge", wanted)
        self.target = f"127.0.0.1:{ports['http']}"
        self.url = f"http://{self.target}"
        self.ports = ports
        self.metrics_url = f"http://127.0.0.1:{ports['metrics']}"
        self.admin_url = f"http://127.0.0.1:{ports['admin']}"

    async def stat(self, name):
        """Return the value of one of Envoy's counters or gauges."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin_url}/stats?filter=^{name}$") as answer:
            return int((await answer.text()).partition(": ")[2])


@pytest.fixture
async def start_edge(free_port):
    """Start edges, and kill those that still run at the end."""
    edges = []

    async def start(gateways, inventories, **settings):
        ports = {name: free_port() for name in ("http", "tls", "shoppers", "shoppers_tls", "metrics", "admin")}
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
        wanted = {f"HOLDFAST_EDGE_{name.upper()}": value for name, value in settings.items()}
        edges.append(Edge(ports, {"HOLDFAST_CORS_ORIGINS": "https://shop.example", **wanted}))
        await edges[-1].says("serving")
        return edges[-1]

    yield start
    for edge in edges:
        edge.kill()  # Envoy is ended by the kernel then.


@pytest.fixture
async def start_gateway():
    """Start fake gateways."""
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
    """Start fake inventories."""
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
    """Open gRPC channels."""
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
