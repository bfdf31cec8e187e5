import socket
import uuid
from urllib.parse import urlsplit

import asyncpg
import pytest

from holdfast_inventory.domain.errors import DatabaseUnavailable
from holdfast_inventory.ports import NotApplied
from holdfast_inventory.postgres import preconditions
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.faults import UnusableDatabaseError
from holdfast_inventory.postgres.migrations import known, migrate, pending
from holdfast_inventory.postgres.preconditions import (
    READER_SESSION,
    TABLES,
    WRITER_SESSION,
    UnsafeServerError,
    require_tables,
)
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import on_every_version
from tests.support.replicas import until

# Settings of roles and databases that differ from what Holdfast needs.
UNLIKE_OURS = {
    "search_path": "nowhere",
    "client_min_messages": "error",
    "idle_session_timeout": "1min",
    "default_transaction_isolation": "serializable",
    "enable_seqscan": "on",
    "statement_timeout": "30s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "1min",
    "jit": "on",
    "plan_cache_mode": "force_custom_plan",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
}
OURS_FOR_READERS = {**READER_SESSION, "search_path": "public, pg_temp"}
OURS_FOR_WRITERS = {**WRITER_SESSION, "search_path": "public, pg_temp"}
COPIED_EVERYWHERE = {"ignore_startup_parameters": "extra_float_digits,options,statement_timeout,lock_timeout"}
SHARED = r"pooler shares PostgreSQL's sessions.*pool_mode = session"


@pytest.fixture
async def opened():
    """Open databases, and close them at the end of the test."""
    databases = []

    async def open_(url, **options):
        database = Database(url, DatabaseLimits(writers=2, readers=2), **options)
        databases.append(database)
        await database.open(patience_seconds=20)
        return database

    yield open_
    for database in databases:
        await database.close()


@pytest.fixture
def unlike(postgres):
    """Give PostgreSQL forbidden settings until the end of the test."""
    changed = []

    async def change(sql, setting, value):
        changed.append(setting)
        postgres.execute(f"ALTER SYSTEM SET {setting} = {value}")
        postgres.execute("SELECT pg_reload_conf()")
        await until(sql, f"SELECT current_setting($1) = '{value}'", setting)

    yield change
    for setting in changed:
        postgres.execute(f"ALTER SYSTEM RESET {setting}")
    postgres.execute("SELECT pg_reload_conf()")


async def settings_of(connection, names):
    return {name: await connection.fetchval("SELECT current_setting($1, true)", name) for name in names}


async def assert_sessions_are_ours(database):
    async with database.writing() as writer, database.reading() as reader:
        for connection, session in ((writer, OURS_FOR_WRITERS), (reader, OURS_FOR_READERS)):
            found = await settings_of(connection, session)
            assert found in (session, session | {"transaction_timeout": None})


# Sessions


@on_every_version
async def test_sessions_have_our_settings_regardless_of_the_database(opened, database_url, sql):
    assert UNLIKE_OURS.keys() | {"transaction_timeout"} == OURS_FOR_WRITERS.keys()
    name = await sql.fetchval("SELECT current_database()")
    for setting, value in UNLIKE_OURS.items():
        assert value != OURS_FOR_WRITERS[setting]
        await sql.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")

    database = await opened(database_url)
    await assert_sessions_are_ours(database)
    await assert_sessions_are_ours(database)


@pytest.mark.parametrize("settings", [{}, COPIED_EVERYWHERE], ids=["plain", "drops startup parameters"])
async def test_a_pooler_with_a_session_for_each_client_serves(opened, database_url, tmp_path, settings):
    with pgbouncer(tmp_path / "pooler", database_url, pool_mode="session", **settings) as url:
        database = await opened(url)
        await assert_sessions_are_ours(database)
        await assert_sessions_are_ours(database)
        await database.close()


async def test_the_schema_is_migrated_through_a_pooler_with_sessions(empty_database_url, tmp_path):
    with pgbouncer(tmp_path / "pooler", empty_database_url, pool_mode="session") as url:
        assert len(await migrate(url)) == len(known())


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_shares_sessions_is_refused_and_its_sessions_are_left_alone(database_url, tmp_path, mode):
    with pgbouncer(tmp_path / "pooler", database_url, pool_mode=mode, **COPIED_EVERYWHERE) as url:
        with pytest.raises(UnsafeServerError, match=SHARED):
            await Database(url, DatabaseLimits()).open(patience_seconds=20)
        with pytest.raises(UnsafeServerError, match=SHARED):
            await migrate(url, patience_seconds=20)
        neighbour = await asyncpg.connect(url, statement_cache_size=0)
        untouched = await settings_of(neighbour, ["lock_timeout", "search_path"])
        await neighbour.close()

    assert untouched == {"lock_timeout": "0", "search_path": '"$user", public'}


async def test_a_busy_pooler_that_shares_sessions_is_refused_too(database_url, tmp_path):
    settings = {"pool_mode": "transaction", "server_round_robin": 1}
    with pgbouncer(tmp_path / "pooler", database_url, **settings) as url:
        others = [await asyncpg.connect(url, statement_cache_size=0) for _ in range(3)]
        for other in others:
            await other.execute("BEGIN")
        for other in others:
            await other.execute("COMMIT")
        with pytest.raises(UnsafeServerError, match=SHARED):
            await Database(url, DatabaseLimits()).open(patience_seconds=20)
        for other in others:
            await other.close()


async def test_a_session_that_does_not_keep_its_settings_is_refused_later_too(opened, database_url, monkeypatch):
    database = await opened(database_url)
    database._drop_idle_writers()
    await database._pool.expire_connections()
    forgetful = {**preconditions.SQL, "set_session": "SELECT $1::text[], $2::text[]"}
    monkeypatch.setattr(preconditions, "SQL", forgetful)

    with pytest.raises(DatabaseUnavailable):
        await database.ping()
    with pytest.raises(NotApplied, match=r"search_path: was set, but then had another value.*pool_mode = session"):
        async with database.writer():
            pass


async def test_what_the_url_asks_for_is_done(opened, empty_database_url, sql):
    asked = "connect_timeout=7&keepalives_idle=33&tcp_user_timeout=9000&application_name=till&gssencmode=disable"
    url = f"{empty_database_url}?{asked}&options=-csearch_path%3Dshop%20-c%20work_mem%3D65537kB"
    other = await asyncpg.connect(empty_database_url)
    await other.execute("CREATE SCHEMA shop")
    await migrate(url)
    assert await other.fetchval("SELECT to_regclass('shop.sales') IS NOT NULL AND to_regclass('public.sales') IS NULL")
    await other.close()

    database = await opened(url)
    assert database._limits.connect_seconds == 7
    async with database.writing() as writer, database.reading() as reader:
        for connection in (writer, reader):
            found = await settings_of(connection, ["search_path", "work_mem", "application_name"])
            assert found == {"search_path": "shop, pg_temp", "work_mem": "65537kB", "application_name": "till"}
        opened_socket = writer._transport.get_extra_info("socket")
        assert opened_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33
        assert opened_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000


@pytest.mark.parametrize("options", ["-cno_such_thing%3D1", "-cwork_mem%3Dmuch", "-cfsync%3Doff"])
async def test_options_that_cannot_be_had_are_reported_at_once(database_url, options):
    for attempt in (
        Database(f"{database_url}?options={options}", DatabaseLimits()).open(3600),
        migrate(f"{database_url}?options={options}", patience_seconds=3600),
    ):
        with pytest.raises(UnusableDatabaseError, match="in the options of DATABASE_URL"):
            await attempt


# The server


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("synchronous_commit", "off"),
        ("zero_damaged_pages", "on"),
        ("ignore_checksum_failure", "on"),
    ],
)
async def test_a_server_that_may_lose_what_it_acknowledged_is_refused(
    database_url, opened, sql, unlike, setting, value
):
    await unlike(sql, setting, value)
    with pytest.raises(UnsafeServerError, match=f"{setting} = {value}.*HOLDFAST_ALLOW_UNSAFE_DURABILITY"):
        await opened(database_url)

    await (await opened(database_url, allow_unsafe_durability=True)).ping()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_text_is_refused(postgres, empty_database_url, encoding):
    name = f"narrow_{encoding.lower()}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        for attempt in (Database(postgres.url(name), DatabaseLimits()).open(20), migrate(postgres.url(name))):
            with pytest.raises(UnsafeServerError, match=f"encoding is {encoding}.*ENCODING 'UTF8'"):
                await attempt
    finally:
        postgres.drop_database(name)


def test_a_server_that_is_too_old_is_reported_so():
    assert list(preconditions._unmet({"server_version_num": "130022"})) == [
        "PostgreSQL 14 or later is needed, this is 13"
    ]
    assert not list(preconditions._unmet({"server_version_num": "140000"}))


# Errors that waiting does not resolve


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url._replace(netloc=url.netloc.replace(":", ":not-", 1)), "refuses the user or its password"),
        (lambda url: url._replace(path="/nothing"), "no such database"),
    ],
    ids=["password", "database"],
)
async def test_errors_that_waiting_does_not_resolve_are_reported_at_once_without_the_password(
    database_url, change, words
):
    url = change(urlsplit(database_url)).geturl()
    for attempt in (Database(url, DatabaseLimits()).open(3600), migrate(url, patience_seconds=3600)):
        with pytest.raises(UnusableDatabaseError, match=words) as told:
            await attempt
        assert urlsplit(url).password not in str(told.value)


@pytest.fixture
def guest(postgres):
    """A role without permissions. Return a function that puts it into a URL."""
    name = f"guest_{uuid.uuid4().hex}"
    postgres.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")

    def as_guest(url):
        parts = urlsplit(url)
        return parts._replace(netloc=f"{name}:{name}@{parts.hostname}:{parts.port}").geturl()

    yield as_guest
    postgres.execute(f"DROP ROLE {name}")


async def test_a_role_that_may_not_create_tables_is_reported_so(empty_database_url, guest):
    with pytest.raises(UnusableDatabaseError, match=r"may not do this.*schema public"):
        await migrate(guest(empty_database_url))


async def test_a_role_that_may_not_read_the_schema_is_reported_so(database_url, opened, guest):
    database = await opened(guest(database_url))
    with pytest.raises(UnusableDatabaseError, match=r"may not do this.*schema_migrations"):
        async with database.writing() as connection:
            await pending(connection)


# Tables


async def test_every_table_of_the_schema_is_looked_at(sql):
    rows = await sql.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    # Only the previous release reads this view.
    assert {row["table_name"] for row in rows} - {"schedules"} == set(TABLES)


@on_every_version
async def test_tables_that_are_logged_and_ours_are_as_they_must_be(sql):
    await require_tables(sql)


async def test_a_table_that_a_crash_would_empty_is_refused(sql):
    await sql.execute("ALTER TABLE ledger SET UNLOGGED")
    with pytest.raises(UnusableDatabaseError, match="the table ledger is emptied by a crash: ALTER TABLE"):
        await require_tables(sql)


async def test_a_role_without_a_privilege_is_reported_which_to_give_it(database_url, opened, sql, guest):
    url = guest(database_url)
    name = urlsplit(url).username
    for table, privileges in TABLES.items():
        await sql.execute(f"GRANT {privileges.replace(' ', ', ')} ON {table} TO {name}")
    database = await opened(url)
    async with database.writing() as connection:
        await require_tables(connection)

    await sql.execute(f"REVOKE UPDATE ON items FROM {name}")
    with pytest.raises(
        UnusableDatabaseError, match="the user may not use the table items: GRANT SELECT, INSERT, UPDATE"
    ):
        async with database.writing() as connection:
            await require_tables(connection)
    await sql.execute(f"DROP OWNED BY {name}")
