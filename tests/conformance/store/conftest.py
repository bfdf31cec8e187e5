"""The stores that there are. Each has the sales `drop`; `limited`, with two units for each customer; and `pair`."""

import pytest

from holdfast_inventory.postgres.database import Database, DatabaseLimits
from lab.kit.replica import Replica
from tests.support.memory_sale_store import MemorySaleStore
from tests.support.shopping import new_sale

SALES = (new_sale("drop", socks=10), new_sale("limited", limit=2, socks=10), new_sale("pair", socks=2, shoes=1))


@pytest.fixture
async def memory():
    store = MemorySaleStore()
    for sale in SALES:
        store.put_up(sale)
    return store


@pytest.fixture
async def postgresql(database_url):
    async with Replica(Database(database_url, DatabaseLimits(writers=10)), lambda _change: None) as replica:
        for sale in SALES:
            await replica.catalog.create_sale(sale)
        yield replica.store


@pytest.fixture(params=[None, 18, 15], ids=["memory", "postgresql 18", "postgresql 15"])
def version(request):
    """Of PostgreSQL; none for the store in memory."""
    return request.param


@pytest.fixture
def postgres(request, version):
    return request.getfixturevalue(f"postgres{version}")


@pytest.fixture
def store(request, version):
    return request.getfixturevalue("memory" if version is None else "postgresql")
