"""The real processes on the real servers. Tests share all that they do not harm."""

from contextlib import AsyncExitStack, ExitStack

import pytest

from lab.kit.grpc_client import GrpcClient
from lab.kit.rest_client import RestClient
from tests.support.services import NO_DRAIN, Cluster, Gateway, Inventory

REPLICAS = 3


@pytest.fixture(scope="session")
def cluster(postgres18, valkey_server):
    """Three inventories and a gateway that no test stops; each test creates its own sales."""
    database = "cluster"
    with ExitStack() as started:
        yield Cluster(started, postgres18.create_database(database), valkey_server.url, REPLICAS)
    postgres18.drop_database(database)


@pytest.fixture
async def opened():
    """Close the given objects at the end of the test."""
    async with AsyncExitStack() as stack:

        def keep(client):
            stack.push_async_callback(client.close)
            return client

        yield keep


@pytest.fixture
def grpc_client(opened):
    """Open gRPC clients, by address."""
    return lambda address: opened(GrpcClient(address))


@pytest.fixture
def rest_client(opened):
    """Open REST clients, by URL."""
    return lambda url: opened(RestClient(url))


@pytest.fixture
async def replicas(cluster, grpc_client):
    """A gRPC client of each replica."""
    return [grpc_client(address) for address in cluster.addresses]


@pytest.fixture
async def shop(replicas):
    """A gRPC client of one replica."""
    return replicas[0]


@pytest.fixture
async def rest(cluster, rest_client):
    """A REST client of the shared gateway."""
    return rest_client(cluster.url)


@pytest.fixture
def start_inventory(cluster):
    """Start inventories for this test, by default on the shared servers. They drain at once."""
    with ExitStack() as started:

        def start(database_url=None, redis_url=None, **settings):
            urls = (cluster.database_url, cluster.redis_url) if database_url is None else (database_url, redis_url)
            return started.enter_context(Inventory(*urls, **(NO_DRAIN | settings)))

        yield start


@pytest.fixture
def start_gateway():
    """Start gateways for this test, which drain at once by default."""
    with ExitStack() as started:

        def start(*inventories, **settings):
            addresses = [each if isinstance(each, str) else each.address for each in inventories]
            return started.enter_context(Gateway(addresses, **(NO_DRAIN | settings)))

        yield start
