"""The real processes on the real servers. What a test does not harm, all tests share."""

import pytest

from lab.kit.grpc_client import GrpcClient
from lab.kit.rest_client import RestClient
from tests.support.services import NO_DRAIN, Cluster, Gateway, Inventory

REPLICAS = 3


@pytest.fixture(scope="session")
def cluster(postgres18, valkey_server):
    """Three inventories and a gateway that no test stops; a test has sales of its own."""
    database = "cluster"
    running = Cluster(postgres18.create_database(database), valkey_server.url, REPLICAS)
    yield running
    running.stop()
    postgres18.drop_database(database)


@pytest.fixture
async def grpc_client():
    """Opens gRPC clients, by address."""
    opened = []

    def connect(address):
        client = GrpcClient(address)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        await client.close()


@pytest.fixture
async def rest_client():
    """Opens REST clients, by URL."""
    opened = []

    def connect(url):
        client = RestClient(url)
        opened.append(client)
        return client

    yield connect
    for client in opened:
        await client.close()


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
    """Starts inventories of the test's own, by default on the shared servers, which drain at once."""
    started = []

    def start(database_url=None, redis_url=None, **settings):
        urls = (cluster.database_url, cluster.redis_url) if database_url is None else (database_url, redis_url)
        started.append(Inventory(*urls, **(NO_DRAIN | settings)))
        return started[-1]

    yield start
    for inventory in started:
        inventory.kill()


@pytest.fixture
def start_gateway():
    """Starts gateways of the test's own, which drain at once unless told otherwise."""
    started = []

    def start(*inventories, **settings):
        addresses = [each if isinstance(each, str) else each.address for each in inventories]
        started.append(Gateway(addresses, **(NO_DRAIN | settings)))
        return started[-1]

    yield start
    for gateway in started:
        gateway.kill()
