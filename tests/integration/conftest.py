import asyncpg
import pytest


@pytest.fixture
async def sql(database_url):
    """A connection to the test's database, to look behind and to plant faults."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
