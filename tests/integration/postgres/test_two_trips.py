"""A batch is one read and one append, which takes effect only if nothing has changed since the read."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast_inventory.domain.decide import Done, decide
from holdfast_inventory.domain.errors import InsufficientStock, NotFound, RequestIdReused
from holdfast_inventory.ports import Stale
from holdfast_inventory.postgres.database import DatabaseLimits
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
from tests.support.postgres import on_every_version
from tests.support.replicas import Replica, locked, until
from tests.support.shopping import hold, new_sale
from tests.support.tcp_proxy import tcp_proxy

DUE_LIMIT = 10
OURS = "datname = current_database() AND application_name = 'holdfast-inventory'"
# What the previous release writes for a batch of extensions only, without the extensions.
APPEND_OF_THE_RELEASE_BEFORE = "UPDATE sales SET sequence = sequence WHERE sale_id = 'drop'"


@asynccontextmanager
async def warm_replica(url):
    """Its connection knows the types and has prepared the statements."""
    async with Replica(url, database_limits=DatabaseLimits(writers=1)) as one:
        await one.execute(hold(socks=1))
        one.statements.names.clear()
        yield one


@pytest.fixture
async def store(database, catalog):
    await catalog.create_sale(new_sale(socks=10))
    return PostgresSaleStore(database)


async def buy(store, command, meanwhile=None, age=timedelta()):
    """One optimistic batch. `meanwhile` happens between its read and its append, which is made as old as `age`."""
    async with store.open("drop", [command], DUE_LIMIT, exclusive=False) as batch:
        [answer] = (decision := decide(batch.state, [command])).answers
        if meanwhile is not None:
            await meanwhile
        snapshot = replace(batch.snapshot, state=replace(batch.state, now=batch.state.now - age))
        await replace(batch, snapshot=snapshot).commit(decision)
    return answer


@pytest.mark.parametrize(("others", "first", "last"), [(31, 100, 101), (32, 59, 60)])
async def test_a_hold_behind_many_of_other_items_ends_no_sooner_than_these(store, sql, others, first, last):
    """The number of reservations that are read, regardless of their lines."""
    await sql.execute("INSERT INTO items VALUES ('hats', 'drop', 40, 0, 0, 0, 0)")
    before = [hold(hold_time=timedelta(seconds=60), hats=1) for _ in range(others)]
    for command in [*before, hold(hold_time=timedelta(seconds=101), socks=10)]:
        await buy(store, command)

    refusal = await buy(store, hold(socks=1))
    assert first < refusal.retry_after_seconds <= last


async def test_a_batch_is_two_round_trips(database_url, catalog):
    await catalog.create_sale(new_sale(socks=10))
    async with warm_replica(database_url) as one:
        for _ in range(3):
            await one.execute(hold(socks=1))
        assert one.statements.names == ["read", "append"] * 3


async def test_a_refusal_alone_is_one_round_trip(database_url, catalog):
    await catalog.create_sale(new_sale(socks=1))
    async with warm_replica(database_url) as one:
        assert isinstance(await one.answer(hold(hats=1)), NotFound)
        assert one.statements.names == ["read"]


async def test_a_batch_that_others_have_overtaken_takes_six_round_trips_in_all(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=10))
    async with warm_replica(database_url) as one:
        async with locked(sql):
            buying = asyncio.ensure_future(one.execute(hold(socks=1)))
            await until(sql, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            await sql.execute("UPDATE sales SET revision = revision + 1")
        assert isinstance(await buying, Done)
        assert one.statements.names == ["read", "append", "begin", "read", "append", "commit"]


@on_every_version
async def test_a_writer_that_does_not_count_is_noticed_too(store, sql):
    """As the previous release writes, or a person in a console."""
    command = hold(socks=1)
    with pytest.raises(Stale):
        await buy(store, command, meanwhile=sql.execute(APPEND_OF_THE_RELEASE_BEFORE))
    assert isinstance(await buy(store, command), Done)


@on_every_version
async def test_what_was_written_while_the_append_waited_for_the_lock_is_noticed(store, sql):
    async with locked(sql):
        buying = asyncio.ensure_future(buy(store, hold(socks=1)))
        await until(sql, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        await sql.execute(APPEND_OF_THE_RELEASE_BEFORE)
    with pytest.raises(Stale):
        await buying


async def test_a_lock_that_others_held_and_wrote_nothing_under_is_none_of_its_business(store, sql):
    async with locked(sql):
        buying = asyncio.ensure_future(buy(store, hold(socks=1)))
        await until(sql, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
    assert isinstance(await buying, Done)


@pytest.mark.parametrize(("age", "is_stale"), [(1.5, False), (2.0, True)])
async def test_what_was_decided_two_seconds_ago_is_not_appended(store, age, is_stale):
    buying = buy(store, hold(socks=1), age=timedelta(seconds=age))
    if is_stale:
        with pytest.raises(Stale):
            await buying
    else:
        await buying


async def test_an_id_that_is_taken_without_a_trace_sends_the_batch_the_exclusive_way(database_url, catalog, sql):
    """It should be impossible. If it happens, no answer is wrong."""
    await catalog.create_sale(new_sale(socks=10))
    command = hold(socks=1)
    insert = """
        INSERT INTO reservations
        VALUES ($1, 'drop', 'c-2', '{socks}', '{1}', 2, now(), now(), now(), '', 'other')
    """
    async with Replica(database_url) as one:
        async with locked(sql):
            buying = asyncio.ensure_future(one.answer(command))
            await until(sql, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
            await sql.execute(insert, command.reservation_id)
        assert isinstance(await buying, RequestIdReused)
        assert one.statements.count("begin") == 1


@on_every_version
async def test_an_append_that_arrives_after_its_batch_was_refused_does_nothing(database_url, catalog, sql):
    """Its connection breaks, its retry finds nothing left and is refused, and then it arrives."""
    await catalog.create_sale(new_sale(socks=10))
    on_its_way, may_arrive = asyncio.Event(), asyncio.Event()

    async def be_late(_link):
        on_its_way.set()
        return await may_arrive.wait()

    quick = DatabaseLimits(transaction_seconds=0.5)
    async with tcp_proxy(database_url) as proxy, Replica(proxy.url, database_limits=quick) as one:
        proxy.at_next_commits(be_late)
        buying = asyncio.ensure_future(one.answer(hold(socks=1)))
        await on_its_way.wait()
        # A change that does not touch the sale's row, so that only the refusal can stop the late append.
        await sql.execute("UPDATE items SET on_hand = 0")
        assert isinstance(await buying, InsufficientStock)
        backends = await sql.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}")
        may_arrive.set()
        await until(sql, f"SELECT count(*) < $1 FROM pg_stat_activity WHERE {OURS}", backends)

    assert await sql.fetchval("SELECT count(*) FROM reservations") == 0
