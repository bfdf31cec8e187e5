"""A ledger on a database of its own, for each test."""

import asyncio

import pytest
import structlog

from holdfast_inventory.postgres.database import Database, DatabaseLimits
from lab.kit.replica import Replica


@pytest.fixture(autouse=True)
def plain_tracebacks():
    """The default tracebacks show every local variable, which takes seconds for a batch."""
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    yield
    structlog.reset_defaults()


@pytest.fixture
def commits():
    """The commits that catalog and ledger announced."""
    return []


@pytest.fixture
async def replica(database_url, commits):
    async with Replica(Database(database_url, DatabaseLimits()), commits.append) as replica:
        yield replica


@pytest.fixture
def database(replica):
    return replica.database


@pytest.fixture
def catalog(replica):
    return replica.catalog


@pytest.fixture
def ledger(replica):
    return replica.ledger


@pytest.fixture
async def later(monkeypatch):
    """Advance the event loop's time by seconds."""
    loop = asyncio.get_running_loop()
    real, ahead = loop.time, 0.0

    def move(seconds):
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    return move
