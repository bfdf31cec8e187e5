"""A ledger on a database of its own, for each test."""

import asyncio

import asyncpg
import pytest
import structlog

from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.stock.stock_ledger import StockLedger


class Unmeasured:
    """Ledger metrics that nobody reads."""

    def on_batch(self, size, seconds):
        pass

    def on_waited(self, seconds):
        pass

    def refused_from_memory(self):
        pass


@pytest.fixture(autouse=True)
def plain_tracebacks():
    """The default ones show every local variable, which for a batch takes seconds."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    yield
    structlog.reset_defaults()


@pytest.fixture
async def database(database_url):
    database = Database(database_url, DatabaseLimits())
    await database.open(patience_seconds=10)
    yield database
    await database.close()


@pytest.fixture
def commits():
    """What catalog and ledger told of their commits."""
    return []


@pytest.fixture
def catalog(database, commits):
    return Catalog(database, commits.append)


@pytest.fixture
async def ledger(database, commits):
    ledger = StockLedger(PostgresSaleStore(database), GroupCommitLimits(), Unmeasured(), commits.append)
    yield ledger
    await ledger.stop(timeout_seconds=5)


@pytest.fixture
async def sql(database_url):
    """A connection to the test's database, to look behind and to plant faults."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def later(monkeypatch):
    """Moves the event loop's time on, by seconds, as if they had been waited for."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def move(seconds):
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return move
