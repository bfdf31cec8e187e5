import asyncpg
import pytest


@pytest.fixture
async def sql(database_url):
    """A connection to the test's database, for direct queries and planted faults."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
