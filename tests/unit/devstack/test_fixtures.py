"""The fixtures keep what they promise to other tests."""

import asyncpg

from tests.support.postgres import on_every_version


@on_every_version
async def test_database_has_holdfasts_tables(postgres, database_url):
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") > 0
    finally:
        await connection.close()
