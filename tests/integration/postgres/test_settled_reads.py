"""Watches show only what no failover can undo, even if it is visible to others earlier."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.support.postgres import on_every_version
from tests.support.replicas import until, until_commits_wait
from tests.support.shopping import hold, new_sale

pytestmark = on_every_version

WAITING = """
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'holdfast-inventory' AND wait_event = 'SyncRep'
"""


@asynccontextmanager
async def standby_missing(postgres, sql):
    """Within the block, commits wait for a standby that does not exist."""
    postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    try:
        postgres.execute("SELECT pg_reload_conf()")
        await until_commits_wait(postgres, sql)
        yield
    finally:
        postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("read", "sequence_of"),
    [
        (lambda catalog: catalog.list_movements("drop", 0, 10), lambda movements: movements[-1].sequence),
        (lambda catalog: catalog.snapshot("drop"), lambda snapshot: snapshot[0]),
    ],
    ids=["movements", "stock levels"],
)
async def test_what_is_not_durable_yet_is_not_shown(postgres, sql, catalog, ledger, read, sequence_of):
    await catalog.create_sale(new_sale(socks=10))
    async with standby_missing(postgres, sql):
        holding = asyncio.ensure_future(ledger.execute("drop", hold(socks=1), None))
        await until(sql, f"SELECT count(*) > 0 {WAITING}")
        assert await sql.fetchval("SELECT sequence FROM sales") == 1
        # It is committed and visible, because its backend no longer waits; the ledger retries, and waits as well.
        await sql.execute(f"SELECT pg_terminate_backend(pid) {WAITING}")
        await until(sql, "SELECT sequence = 2 FROM sales")
        reading = asyncio.ensure_future(read(catalog))
        await until(sql, f"SELECT count(*) > 0 {WAITING} AND query LIKE '%emit_message%'")
        assert not reading.done()
    assert sequence_of(await reading) == 2
    assert not (await holding).replayed
