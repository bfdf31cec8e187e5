import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import asyncpg
import pytest

from holdfast_inventory.postgres import migrations
from holdfast_inventory.postgres.migrations import Migration, known, migrate, pending
from tests.support.eventually import eventually
from tests.support.postgres import on_every_version

pytestmark = on_every_version

FIRST = Migration(1, "stock", "CREATE TABLE stock (units integer);", "DROP TABLE stock;")
SECOND = Migration(2, "label", "ALTER TABLE stock ADD COLUMN label text;", "ALTER TABLE stock DROP COLUMN label;")
BROKEN = Migration(2, "broken", "ALTER TABLE stock ADD COLUMN label text; SELECT 1 / 0;", "SELECT 1;")


@asynccontextmanager
async def connected(url):
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def versions(url):
    async with connected(url) as connection:
        return [row["version"] for row in await connection.fetch("SELECT version FROM schema_migrations ORDER BY 1")]


async def has_table(url, name):
    async with connected(url) as connection:
        return await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", name)


async def schema(url):
    """Every column, constraint and index, as text."""
    async with connected(url) as connection:
        columns = await connection.fetch(
            "SELECT format('%s.%s %s %s', table_name, column_name, data_type, is_nullable) AS line "
            "FROM information_schema.columns WHERE table_schema = 'public'"
        )
        constraints = await connection.fetch(
            "SELECT conname || pg_get_constraintdef(oid) AS line FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace"
        )
        indexes = await connection.fetch("SELECT indexdef AS line FROM pg_indexes WHERE schemaname = 'public'")
    return sorted(row["line"] for row in [*columns, *constraints, *indexes])


async def test_ten_concurrent_runs_apply_each_migration_once(empty_database_url):
    runs = await asyncio.gather(*(migrate(empty_database_url) for _ in range(10)))

    assert sorted(str(migration) for migration in known()) == sorted(
        str(step.migration) for steps in runs for step in steps
    )
    assert await has_table(empty_database_url, "reservations")


async def test_applied_migrations_are_recorded_with_checksum_and_time(empty_database_url):
    await migrate(empty_database_url, migrations=[FIRST])

    async with connected(empty_database_url) as connection:
        row = await connection.fetchrow("SELECT *, applied_at <= clock_timestamp() AS in_time FROM schema_migrations")
    assert (1, "stock", FIRST.checksum, True) == (row["version"], row["name"], row["checksum"], row["in_time"])


async def test_a_second_run_has_nothing_to_do(empty_database_url):
    await migrate(empty_database_url)

    assert await migrate(empty_database_url) == []


async def test_down_and_up_again_gives_the_same_schema(empty_database_url):
    await migrate(empty_database_url)
    before = await schema(empty_database_url)

    await migrate(empty_database_url, to=0)
    assert not await has_table(empty_database_url, "sales")
    await migrate(empty_database_url)

    assert before == await schema(empty_database_url)


async def test_a_target_is_reached_from_either_side(empty_database_url):
    both = [FIRST, SECOND]

    assert [str(step) for step in await migrate(empty_database_url, to=1, migrations=both)] == ["0001_stock up"]
    assert [str(step) for step in await migrate(empty_database_url, to=2, migrations=both)] == ["0002_label up"]
    downs = await migrate(empty_database_url, to=0, migrations=both)

    assert [str(step) for step in downs] == ["0002_label down", "0001_stock down"]
    assert await versions(empty_database_url) == []


async def test_a_dry_run_tells_the_steps_and_changes_nothing(empty_database_url):
    steps = await migrate(empty_database_url, dry_run=True)

    assert [migration.up for migration in known()] == [step.sql for step in steps]
    assert not await has_table(empty_database_url, "schema_migrations")


async def test_a_changed_file_is_refused(empty_database_url):
    await migrate(empty_database_url, migrations=[FIRST])
    changed = replace(FIRST, up=FIRST.up + " -- harmless?")

    with pytest.raises(migrations.HistoryDiffersError, match=r"0001_stock\.up\.sql has changed"):
        await migrate(empty_database_url, migrations=[changed, SECOND])
    assert await versions(empty_database_url) == [1]


async def test_a_newer_schema_is_left_alone_but_only_its_release_goes_back(empty_database_url):
    await migrate(empty_database_url, migrations=[FIRST, SECOND])

    assert await migrate(empty_database_url, migrations=[FIRST]) == []
    with pytest.raises(migrations.HistoryDiffersError, match="version 2 belongs to a newer release"):
        await migrate(empty_database_url, to=0, migrations=[FIRST])
    assert await versions(empty_database_url) == [1, 2]


async def test_an_unknown_target_is_refused(empty_database_url):
    unknown = known()[-1].version + 1
    with pytest.raises(migrations.UnknownVersionError, match=f"no version {unknown}"):
        await migrate(empty_database_url, to=unknown)


async def test_a_failing_migration_leaves_nothing_of_itself(empty_database_url):
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_database_url, migrations=[FIRST, BROKEN])

    assert await versions(empty_database_url) == [1]
    assert [str(step) for step in await migrate(empty_database_url, migrations=[FIRST, SECOND])] == ["0002_label up"], (
        "the broken one's column would be in the way"
    )


async def test_pending_lists_what_the_database_lacks(empty_database_url):
    async with connected(empty_database_url) as connection:
        assert list(known()) == await pending(connection)
        await migrate(empty_database_url)
        assert await pending(connection) == []


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 0"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        AttributeError("'NoneType' object has no attribute 'query'", name="query", obj=None),
        ConnectionResetError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_connection_that_is_lost_in_a_migration_is_made_again(empty_database_url, monkeypatch, error):
    real, errors = migrations._run, [error]

    async def run(connection, step):
        if errors:
            raise errors.pop()
        await real(connection, step)

    monkeypatch.setattr(migrations, "_run", run)
    steps = await migrate(empty_database_url)
    assert [step.migration for step in steps] == list(known())
    assert errors == []


ONLINE = Migration(
    2,
    "index",
    "-- Not in a transaction: it goes on\nDROP INDEX CONCURRENTLY IF EXISTS units_idx;\n"
    "CREATE INDEX CONCURRENTLY units_idx ON stock (units);\n",
    "-- Not in a transaction: it goes on\nDROP INDEX CONCURRENTLY IF EXISTS units_idx;\n",
)


async def test_an_index_is_built_while_its_table_is_in_use(empty_database_url):
    await migrate(empty_database_url, migrations=[FIRST])

    async with connected(empty_database_url) as shopper:
        async with shopper.transaction():
            await shopper.execute("INSERT INTO stock VALUES (1)")
            running = asyncio.create_task(migrate(empty_database_url, migrations=[FIRST, ONLINE]))
            async with connected(empty_database_url) as other:
                await eventually(
                    lambda: other.fetchval("SELECT count(*) FROM pg_indexes WHERE indexname = 'units_idx'")
                )
                await other.execute("INSERT INTO stock VALUES (2)")
            assert not running.done()
        await running
    assert await versions(empty_database_url) == [1, 2]


async def test_an_index_that_was_left_half_built_is_built_again(empty_database_url):
    await migrate(empty_database_url, migrations=[FIRST])
    async with connected(empty_database_url) as connection:
        await connection.execute("INSERT INTO stock VALUES (1), (1)")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("CREATE UNIQUE INDEX CONCURRENTLY units_idx ON stock (units)")
        await migrate(empty_database_url, migrations=[FIRST, ONLINE])
        assert await connection.fetchval("SELECT indisvalid FROM pg_index WHERE indexrelid = 'units_idx'::regclass")


async def test_a_runner_gives_up_when_another_does_not_end(empty_database_url):
    async with connected(empty_database_url) as other:
        await other.fetchval(migrations.SQL["try_to_lock_migrations"], migrations._LOCK_KEY)

        with pytest.raises(migrations.MigrationBlockedError):
            await migrate(empty_database_url, patience_seconds=0.5)


async def test_a_migration_never_waits_long_for_a_busy_table_but_comes_back(empty_database_url, monkeypatch):
    monkeypatch.setattr(migrations, "_TABLE_LOCK_SECONDS", 0.05)
    monkeypatch.setattr(migrations, "_TABLE_LOCK_PAUSE_SECONDS", 0)
    monkeypatch.setattr(migrations, "_TABLE_LOCK_ATTEMPTS", 3)
    await migrate(empty_database_url, migrations=[FIRST])

    async with connected(empty_database_url) as shopper:
        async with shopper.transaction():
            await shopper.fetch("SELECT * FROM stock")
            with pytest.raises(migrations.MigrationBlockedError, match="0002_label up found a table locked 3 times"):
                await migrate(empty_database_url, migrations=[FIRST, SECOND])
            monkeypatch.setattr(migrations, "_TABLE_LOCK_ATTEMPTS", 200)
            blocked = asyncio.create_task(migrate(empty_database_url, migrations=[FIRST, SECOND]))
            await asyncio.wait([blocked], timeout=0.2)
            assert not blocked.done()
        async with asyncio.timeout(20):
            await blocked
    assert await versions(empty_database_url) == [1, 2]
