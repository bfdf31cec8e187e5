import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest

from holdfast_inventory.domain.errors import DatabaseUnavailable
from holdfast_inventory.ports import InDoubt, NotApplied
from holdfast_inventory.postgres.database import Database, DatabaseLimits, UnavailableError
from holdfast_inventory.postgres.preconditions import WRITER_SESSION
from tests.support.eventually import eventually
from tests.support.postgres import on_every_version
from tests.support.replicas import until, until_commits_wait
from tests.support.tcp_proxy import tcp_proxy

QUICK = DatabaseLimits(
    writers=1, readers=1, connect_seconds=0.5, acquire_seconds=0.3, read_seconds=0.3, transaction_seconds=0.3
)
BOUNDED = {
    "statement_timeout": "2s",
    "lock_timeout": "500ms",
    "idle_in_transaction_session_timeout": "5s",
    "enable_seqscan": "off",
    "transaction_isolation": "read committed",
    "search_path": "public, pg_temp",
}
PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_hashjoin": "off", "enable_mergejoin": "off"}
OURS = "datname = current_database() AND application_name = 'holdfast-inventory'"


@pytest.fixture
async def proxy(database_url):
    async with tcp_proxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def opened():
    """Open databases, and close them at the end of the test."""
    databases = []

    async def open_(url, limits=QUICK, **options):
        database = Database(url, limits, **options)
        databases.append(database)
        await database.open(patience_seconds=10)
        return database

    yield open_
    for database in databases:
        await database.close()


@pytest.fixture
async def table(sql):
    await sql.execute("CREATE TABLE numbers (n integer CONSTRAINT positive CHECK (n > 0))")


@asynccontextmanager
async def transaction(database, *, commits=True):
    async with database.writer() as writer:
        await writer.begin()
        yield writer
        if commits:
            await writer.commit()


async def backend(writer):
    return await writer.connection.fetchval("SELECT pg_backend_pid()")


async def test_a_database_that_comes_up_late_is_waited_for(proxy, opened):
    proxy.accepts = False
    opening = asyncio.ensure_future(opened(proxy.url))
    async with asyncio.timeout(5):
        await proxy.refused.wait()
    proxy.accepts = True

    await (await opening).ping()


async def test_a_database_that_does_not_come_up_is_reported_with_the_reason(free_port):
    database = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/none", QUICK)

    with pytest.raises(UnavailableError, match=r"within 0\.3 s: .*Connect call failed"):
        await database.open(patience_seconds=0.3)
    await database.close()


async def test_a_server_that_accepts_and_says_nothing_is_not_waited_for_forever(proxy):
    proxy.freeze()
    database = Database(proxy.url, DatabaseLimits())

    with pytest.raises(UnavailableError, match=r"within 0\.2 s: it does not answer"):
        await database.open(patience_seconds=0.2)


@on_every_version
async def test_our_tables_are_found_with_any_search_path_and_temporary_tables(opened, database_url, sql, table):
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET search_path = 'nowhere'")
    database = await opened(database_url)

    async with database.reading() as reader:
        await reader.execute("CREATE TEMP TABLE numbers ()")
    for _ in range(2):
        async with database.writing() as writer, database.reading() as reader:
            assert await writer.fetchval("INSERT INTO numbers VALUES (1) RETURNING n") == 1
            assert await reader.fetch("SELECT n FROM numbers") == await reader.fetch("SELECT n FROM public.numbers")


async def test_a_transaction_commits_at_its_end(opened, database_url, sql, table):
    database = await opened(database_url)
    async with database.writing() as connection:
        await connection.execute("INSERT INTO numbers VALUES (1)")

    assert await sql.fetchval("SELECT n FROM numbers") == 1


async def test_a_callers_own_error_rolls_back_and_the_connection_is_kept(opened, database_url, sql, table):
    database = await opened(database_url)
    async with transaction(database) as writer:
        first = await backend(writer)
    with pytest.raises(KeyError):  # noqa: PT012 -- it is told at the transaction's end
        async with database.writing() as connection:
            await connection.execute("INSERT INTO numbers VALUES (1)")
            raise KeyError
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.writing() as connection:
            await connection.execute("INSERT INTO numbers VALUES (0)")

    async with transaction(database) as writer:
        assert await backend(writer) == first
    assert await sql.fetchval("SELECT count(*) FROM numbers") == 0


async def test_a_transaction_that_does_not_commit_leaves_nothing(opened, database_url, sql, table):
    database = await opened(database_url)
    async with transaction(database, commits=False) as writer:
        await writer.connection.execute("INSERT INTO numbers VALUES (1)")

    assert await sql.fetchval("SELECT count(*) FROM numbers") == 0


async def test_a_cancelled_transaction_is_undone_and_its_connection_dropped(opened, database_url, sql, table):
    database = await opened(database_url)
    inside = asyncio.Event()

    async def insert():
        async with database.writing() as connection:
            await connection.execute("INSERT INTO numbers VALUES (1)")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(insert())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert database.use["writers"] == 0
    async with database.writing() as connection:
        await connection.execute("INSERT INTO numbers VALUES (2)")
    assert [row["n"] for row in await sql.fetch("SELECT n FROM numbers")] == [2]


async def test_a_commit_outlives_its_caller_and_its_connection_is_kept(opened, proxy, sql, table):
    database = await opened(proxy.url)
    in_commit, may_commit = asyncio.Event(), asyncio.Event()

    async def wait(_link):
        in_commit.set()
        return await may_commit.wait()

    async def insert():
        async with database.writing() as connection:
            await connection.execute("INSERT INTO numbers VALUES (1)")

    proxy.at_next_commits(wait)
    task = asyncio.ensure_future(insert())
    await in_commit.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert database.use["writers_busy"] == 1
    may_commit.set()
    await database.close()

    assert task.cancelled()
    assert await sql.fetchval("SELECT n FROM numbers") == 1


async def test_a_caller_cancelled_while_it_waits_for_a_writer_takes_none(opened, database_url):
    database = await opened(database_url, DatabaseLimits(writers=1))
    async with database.writing():
        waiters = [asyncio.ensure_future(transaction(database).__aenter__()) for _ in range(3)]
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)

    async with database.writing():
        assert database.use["writers_busy"] == 1


async def test_a_caller_cancelled_while_it_connects_gives_its_place_back(opened, proxy):
    database = await opened(proxy.url, DatabaseLimits(writers=1))
    database._drop_idle_writers()
    proxy.freeze()
    proxy.connected.clear()
    caller = asyncio.ensure_future(transaction(database).__aenter__())
    await proxy.connected.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    proxy.thaw()

    assert database.use["writers"] == 0
    async with database.writing():
        pass


async def test_no_writer_in_time_is_not_applied(opened, database_url):
    database = await opened(database_url, DatabaseLimits(writers=1, acquire_seconds=0.05))
    async with database.writing():
        with pytest.raises(NotApplied, match="no writer"):
            async with transaction(database):
                pass


async def test_the_watchdog_sleeps_when_its_transaction_is_over(opened, database_url, later):
    database = await opened(database_url, DatabaseLimits(writers=1))
    async with transaction(database) as writer:
        first = await backend(writer)
    later(60)
    await asyncio.sleep(0)

    async with transaction(database) as writer:
        assert await backend(writer) == first


async def test_a_transaction_that_is_too_long_is_cut_off(opened, database_url, sql):
    database = await opened(database_url)
    with pytest.raises(DatabaseUnavailable):
        async with database.writing() as connection:
            await connection.execute("SELECT pg_sleep(1.5)")

    assert database.use["writers"] == 0


async def test_a_query_that_is_cut_off_between_two_of_its_steps_is_not_applied(opened, database_url, monkeypatch):
    database = await opened(database_url)
    prepare = asyncpg.Connection._get_statement

    async def prepare_and_be_cut_off(connection, *arguments, **options):
        statement = await prepare(connection, *arguments, **options)
        connection.terminate()
        return statement

    with pytest.raises(NotApplied, match="bind_execute"):  # noqa: PT012 -- it is told at the transaction's end
        async with transaction(database) as writer:
            monkeypatch.setattr(asyncpg.Connection, "_get_statement", prepare_and_be_cut_off)
            await writer.connection.fetchval("SELECT 1")


async def test_a_connection_lost_before_commit_is_known_to_have_done_nothing(opened, database_url, sql, table):
    database = await opened(database_url)
    with pytest.raises(NotApplied):  # noqa: PT012 -- it is told at the transaction's end
        async with transaction(database) as writer:
            await writer.connection.execute("INSERT INTO numbers VALUES (1)")
            writer.connection.terminate()

    assert await sql.fetchval("SELECT count(*) FROM numbers") == 0


async def test_what_cuts_one_writer_off_replaces_them_all(opened, database_url, sql):
    database = await opened(database_url, DatabaseLimits(writers=3))
    async with database.writing(), database.writing(), database.writing():
        pass
    assert database.use["writers"] == 3
    with pytest.raises(NotApplied):  # noqa: PT012 -- it is told at the transaction's end
        async with transaction(database) as writer:
            await sql.execute("SELECT pg_terminate_backend($1, 5000)", await backend(writer))
            await writer.connection.execute("SELECT 1")

    assert database.use["writers"] == 0


async def test_a_frozen_reader_is_refused_in_bounded_time_and_recovers(opened, proxy):
    database = await opened(proxy.url)
    await database.ping()
    proxy.freeze()
    async with asyncio.timeout(5):
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    proxy.thaw()
    async with asyncio.timeout(5):
        await database.ping()


async def test_reads_from_a_database_that_is_not_open_are_refused(database_url):
    with pytest.raises(DatabaseUnavailable):
        await Database(database_url, QUICK).ping()


async def test_close_is_harmless_at_any_time_and_ends_what_still_runs(opened, database_url, sql):
    never_opened = Database(database_url, QUICK)
    await never_opened.close()
    database = await opened(database_url)
    with pytest.raises(DatabaseUnavailable):  # noqa: PT012 -- it is told at the transaction's end
        async with database.writing() as connection:
            await database.close()
            await database.close()
            await connection.execute("SELECT 1")
    with pytest.raises(NotApplied, match="closed"):
        async with transaction(database):
            pass

    assert database.use == {"writers": 0, "writers_busy": 0, "readers": 0, "readers_busy": 0}


async def test_close_cuts_off_a_connection_in_the_making(opened, proxy):
    """The server does not answer within the limit."""
    database = await opened(proxy.url, DatabaseLimits(connect_seconds=60, acquire_seconds=60))
    database._drop_idle_writers()
    proxy.freeze()
    making = asyncio.ensure_future(entered(database))
    await eventually(lambda: database._new_writers)
    closing = asyncio.ensure_future(database.close())
    with pytest.raises(NotApplied, match="closed"):
        await making
    proxy.thaw()
    await closing


async def entered(database):
    async with transaction(database):
        pass


@on_every_version
async def test_a_commit_that_the_server_gives_up_replicating_is_in_doubt(postgres, database_url, opened, sql, table):
    """A server that is told to stop waiting for its standby reports success with a warning."""
    database = await opened(database_url, DatabaseLimits(transaction_seconds=20))
    postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    try:
        postgres.execute("SELECT pg_reload_conf()")
        await until_commits_wait(postgres, sql)
        # The setting reaches a backend between two statements.
        async with transaction(database, commits=False) as writer:
            await until(writer.connection, "SELECT current_setting('synchronous_standby_names') = 'nobody'")
        cancelling = asyncio.ensure_future(_cancel_the_wait(sql))
        with pytest.raises(InDoubt, match="synchronous replication"):
            async with transaction(database) as writer:
                await writer.connection.execute("INSERT INTO numbers VALUES (1)")
        await cancelling
    finally:
        postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.execute("SELECT pg_reload_conf()")
    async with transaction(database) as writer:
        assert await writer.connection.fetchval("SELECT count(*) FROM numbers") == 1


async def _cancel_the_wait(sql):
    waits = f"FROM pg_stat_activity WHERE {OURS} AND wait_event = 'SyncRep'"
    await until(sql, f"SELECT count(*) > 0 {waits}")
    await sql.execute(f"SELECT pg_cancel_backend(pid) {waits}")


@on_every_version
async def test_a_commit_waits_for_its_standby_for_longer_than_a_statement_may_take(
    postgres, database_url, opened, sql, table, monkeypatch
):
    """A COMMIT, or a statement that commits itself. If cancelled, the server would report success with a warning."""
    monkeypatch.setitem(WRITER_SESSION, "statement_timeout", "500ms")
    database = await opened(database_url, DatabaseLimits(transaction_seconds=20))
    await sql.execute("SET synchronous_commit = local")
    postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    try:
        postgres.execute("SELECT pg_reload_conf()")
        await until_commits_wait(postgres, sql)
        committing = [asyncio.ensure_future(_insert(database, 1)), asyncio.ensure_future(_insert_alone(database, 2))]
        long = f"FROM pg_stat_activity WHERE {OURS} AND wait_event = 'SyncRep' AND query_start < now() - interval '1 s'"
        await until(sql, f"SELECT count(*) = 2 {long}")
        assert not any(task.done() for task in committing)
    finally:
        postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.execute("SELECT pg_reload_conf()")
    await asyncio.gather(*committing)


async def _insert(database, number):
    async with transaction(database) as writer:
        await writer.connection.execute("INSERT INTO numbers VALUES ($1)", number)


async def _insert_alone(database, number):
    async with database.writer() as writer:
        await writer.commit_by("INSERT INTO numbers VALUES ($1)", number)
