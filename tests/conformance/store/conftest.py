"""The stores that there are. Each has the sales `drop`; `limited`, with two units for each customer; and `pair`."""

import pytest

from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
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
    database = Database(database_url, DatabaseLimits(writers=10))
    await database.open(patience_seconds=10)
    catalog = Catalog(database, lambda _change: None)
    for sale in SALES:
        await catalog.create_sale(sale)
    yield PostgresSaleStore(database)
    await database.close()


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
