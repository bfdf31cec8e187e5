"""Exactly once, and with bounded waits, with any fault between the ledger and its database."""

import asyncio
import os
import signal
from contextlib import contextmanager

import pytest

from holdfast_inventory.domain.decide import Done
from holdfast_inventory.domain.errors import (
    DatabaseUnavailable,
    InsufficientStock,
    Internal,
    OutcomeUnknown,
    Overloaded,
)
from holdfast_inventory.postgres.database import DatabaseLimits
from holdfast_inventory.postgres.preconditions import WRITER_SESSION
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from tests.support.postgres import on_every_version
from tests.support.replicas import Replica, locked, until
from tests.support.shopping import hold, new_sale
from tests.support.tcp_proxy import lose_answer, lose_commit, tcp_proxy

IMPATIENT = DatabaseLimits(connect_seconds=0.5, acquire_seconds=0.5, read_seconds=0.5, transaction_seconds=0.4)
OURS = "datname = current_database() AND application_name = 'holdfast-inventory'"
# A function that fails its first calls: a sequence does not roll back.
FAILS_AT_FIRST = """
    CREATE SEQUENCE calls;
    CREATE FUNCTION fail_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('calls') <= {times} THEN RAISE EXCEPTION 'planted' USING ERRCODE = '{code}'; END IF;
        RETURN NEW;
    END $$;
    CREATE {kind} TRIGGER planted {when} INSERT ON reservations {deferred} FOR EACH ROW
        EXECUTE FUNCTION fail_at_first();
"""


@pytest.fixture
async def proxy(database_url):
    async with tcp_proxy(database_url) as proxy:
        yield proxy


async def assert_effects(catalog, sql, *, held):
    """Check that this many units of socks are held by the same number of reservations, and that the ledger agrees."""
    assert (await catalog.get_item("drop", "socks")).held == held
    assert await sql.fetchval("SELECT count(*) FROM reservations") == held
    assert (await catalog.verify("drop")).discrepancies == []


async def terminate_ours(sql):
    """Terminate Holdfast's backends that are not idle."""
    await sql.fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS} AND state <> 'idle'")


@on_every_version
@pytest.mark.parametrize(
    "losses",
    [[lose_answer], [lose_commit], [lose_answer, lose_answer], [lose_commit, lose_answer]],
    ids=lambda losses: " ".join(loss.__name__ for loss in losses),
)
async def test_a_lost_commit_is_resolved_by_the_same_key(database_url, proxy, catalog, sql, losses):
    await catalog.create_sale(new_sale(socks=20))
    async with Replica(proxy.url) as one:
        await one.ledger.salt("drop")
        proxy.at_next_commits(*losses)
        answers = await asyncio.gather(*(one.execute(hold(f"c-{n}", socks=1)) for n in range(20)))

    assert {False} == {done.replayed for done in answers}
    await assert_effects(catalog, sql, held=20)


async def test_a_replay_whose_commit_is_lost_is_still_a_replay(database_url, proxy, catalog, sql):
    await catalog.create_sale(new_sale(socks=5))
    async with Replica(proxy.url) as one:
        command = await one.bound_hold("r-1", socks=1)
        await one.execute(command)
        proxy.at_next_commits(lose_answer)
        assert (await one.execute(command)).replayed

    await assert_effects(catalog, sql, held=1)


def lose_commit_and_server(proxy):
    """Lose the next commit, and refuse connections from then on. Return the event that is set when it happens."""
    lost = asyncio.Event()

    async def lose_it_and_the_server(link):
        proxy.accepts = False
        lost.set()
        return await lose_commit(link)

    proxy.at_next_commits(lose_it_and_the_server)
    return lost


async def test_what_another_replica_does_after_a_lost_commit_is_not_ours(database_url, proxy, catalog, sql):
    await catalog.create_sale(new_sale(socks=5))
    async with Replica(proxy.url) as one, Replica(database_url) as other:
        command = await one.bound_hold("r-1", socks=1)
        lost = lose_commit_and_server(proxy)
        slower = asyncio.ensure_future(one.execute(command))
        await lost.wait()
        assert not (await other.execute(command)).replayed
        proxy.accepts = True
        assert (await slower).replayed

    await assert_effects(catalog, sql, held=1)


async def test_a_refusal_after_a_lost_commit_is_a_true_one(database_url, proxy, catalog, sql):
    """The commit is lost, and the last unit goes to another customer before the retry."""
    await catalog.create_sale(new_sale(socks=1))
    async with Replica(proxy.url) as one, Replica(database_url) as other:
        lost = lose_commit_and_server(proxy)
        slower = asyncio.ensure_future(one.execute(hold("slower", socks=1)))
        await lost.wait()
        await other.execute(hold("quicker", socks=1))
        proxy.accepts = True
        with pytest.raises(InsufficientStock):
            await slower

    await assert_effects(catalog, sql, held=1)


async def test_the_outcome_is_unknown_only_past_the_deadline(database_url, proxy, catalog, sql):
    await catalog.create_sale(new_sale(socks=5))
    async with Replica(proxy.url) as one:
        command = await one.bound_hold("r-1", socks=1)

        async def lose_the_server(link):
            proxy.accepts = False
            return await lose_answer(link)

        proxy.at_next_commits(lose_the_server)
        began = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknown):
            await one.execute(command, within=0.5)
        assert asyncio.get_running_loop().time() - began >= 0.5

        proxy.accepts = True
        done = await one.execute(command)

    assert done.replayed
    await assert_effects(catalog, sql, held=1)


async def test_a_commit_goes_on_when_its_callers_are_gone(database_url, proxy, catalog, sql):
    await catalog.create_sale(new_sale(socks=5))
    in_commit, may_commit = asyncio.Event(), asyncio.Event()

    async def wait(_link):
        in_commit.set()
        return await may_commit.wait()

    async with Replica(proxy.url) as one:
        proxy.at_next_commits(wait)
        caller = asyncio.ensure_future(one.execute(hold(socks=1)))
        await in_commit.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        may_commit.set()
        await one.ledger.stop(timeout_seconds=5)

        assert one.database.use["writers_busy"] == 0
    await assert_effects(catalog, sql, held=1)


@on_every_version
async def test_a_backend_that_is_terminated_in_a_batch_costs_nothing(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url) as one:
        async with locked(sql):
            tasks = [asyncio.ensure_future(one.execute(hold(socks=1))) for _ in range(3)]
            await one.statements.seen("read")
            await terminate_ours(sql)
        answers = await asyncio.gather(*tasks)

    assert {False} == {done.replayed for done in answers}
    await assert_effects(catalog, sql, held=3)


@on_every_version
@pytest.mark.parametrize("committed", [False, True])
async def test_a_backend_that_is_terminated_in_commit_costs_nothing(database_url, proxy, catalog, sql, committed):
    await catalog.create_sale(new_sale(socks=9))

    async def terminate(link):
        if committed:
            await lose_answer(link)
        await terminate_ours(sql)
        return True

    async with Replica(proxy.url) as one:
        proxy.at_next_commits(terminate)
        answers = await asyncio.gather(*(one.execute(hold(socks=1)) for _ in range(3)))

    assert {False} == {done.replayed for done in answers}
    await assert_effects(catalog, sql, held=3)


@pytest.mark.parametrize("code", ["40001", "40P01", "55P03", "53200", "57014", "25006"])
@pytest.mark.parametrize("in_commit", [False, True])
async def test_a_fault_that_passes_is_tried_again(database_url, catalog, sql, code, in_commit):
    await catalog.create_sale(new_sale(socks=9))
    kind, when, deferred = ("CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED") if in_commit else ("", "BEFORE", "")
    await sql.execute(FAILS_AT_FIRST.format(times=2, code=code, kind=kind, when=when, deferred=deferred))
    async with Replica(database_url) as one:
        assert (await one.execute(hold(socks=1))).replayed is False

    await assert_effects(catalog, sql, held=1)


async def test_a_violation_that_only_commit_finds_is_rejected_once(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    options = {"kind": "CONSTRAINT", "when": "AFTER", "deferred": "DEFERRABLE INITIALLY DEFERRED"}
    await sql.execute(FAILS_AT_FIRST.format(times=1, code="23514", **options))
    async with Replica(database_url) as one:
        with pytest.raises(Internal):
            await one.execute(hold(socks=1))
        await one.execute(hold(socks=1))

    await assert_effects(catalog, sql, held=1)


async def test_a_lock_that_is_held_too_long_is_waited_for_again(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url) as one:
        async with locked(sql):
            task = asyncio.ensure_future(one.execute(hold(socks=1)))
            await one.statements.seen("append")  # It has run into lock_timeout.
        assert isinstance(await task, Done)

    assert one.statements.count("append") >= 2
    await assert_effects(catalog, sql, held=1)


async def test_a_lock_that_is_never_free_is_a_refusal_in_bounded_time(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url, limits=GroupCommitLimits(patience_seconds=0.4)) as one:
        async with locked(sql), asyncio.timeout(5):
            with pytest.raises(DatabaseUnavailable):
                await one.execute(hold(socks=1))
        await one.execute(hold(socks=1))

    await assert_effects(catalog, sql, held=1)


async def test_a_frozen_server_is_refused_in_bounded_time_and_recovers(proxy, catalog, sql, later):
    await catalog.create_sale(new_sale(socks=99))
    limits = GroupCommitLimits(patience_seconds=0.3, queue_seconds=0.2)
    async with Replica(proxy.url, limits=limits, database_limits=IMPATIENT) as one:
        await one.execute(hold(socks=1))
        proxy.freeze()
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*(one.answer(hold(socks=1)) for _ in range(40)))
        assert {DatabaseUnavailable} == {type(answer) for answer in answers}

        async with asyncio.timeout(5):
            queued = [asyncio.ensure_future(one.answer(hold(socks=1))) for _ in range(2)]
            for _ in range(3):
                await asyncio.sleep(0)  # The batch begins.
            later(0.25)
            queued += [asyncio.ensure_future(one.answer(hold(socks=1))) for _ in range(40)]
            answers = await asyncio.gather(*queued)
        assert {type(answer) for answer in answers} == {DatabaseUnavailable, Overloaded}

        proxy.thaw()
        assert isinstance(await one.execute(hold(socks=1)), Done)

    await assert_effects(catalog, sql, held=2)


async def test_an_answer_that_only_drips_is_still_an_answer(proxy, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(proxy.url) as one:
        proxy.drips = True
        assert (await one.execute(hold(socks=1))).replayed is False
        proxy.drips = False

    await assert_effects(catalog, sql, held=1)


@pytest.mark.parametrize("stops", ["requests_flow", "answers_flow"])
async def test_a_commit_into_a_black_hole_is_resolved(proxy, catalog, sql, stops):
    """One direction drops everything, so the COMMIT or its answer never arrives, and no connection is closed."""
    await catalog.create_sale(new_sale(socks=9))

    async def stop_flowing(_link):
        getattr(proxy, stops).clear()
        return True

    async with Replica(proxy.url, database_limits=IMPATIENT) as one:
        proxy.at_next_commits(stop_flowing)
        proxy.connected.clear()
        task = asyncio.ensure_future(one.execute(hold(socks=1)))
        async with asyncio.timeout(5):
            await proxy.connected.wait()  # It retries.
        proxy.thaw()
        assert (await task).replayed is False

    await assert_effects(catalog, sql, held=1)


async def test_stopped_backends_are_replaced(database_url, catalog, sql):
    await catalog.create_sale(new_sale(socks=9))
    async with Replica(database_url, database_limits=IMPATIENT) as one:
        await one.execute(hold(socks=1))
        pids = [row["pid"] for row in await sql.fetch(f"SELECT pid FROM pg_stat_activity WHERE {OURS}")]
        with stopped(pids):
            assert (await one.execute(hold(socks=1))).replayed is False

    await assert_effects(catalog, sql, held=2)


@contextmanager
def stopped(pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_a_commit_that_waits_for_a_standby_is_not_acknowledged_by_a_timeout(
    postgres, database_url, catalog, sql, monkeypatch
):
    """The server would give up waiting for the standby and report success, with a warning."""
    await catalog.create_sale(new_sale(socks=9))
    monkeypatch.setitem(WRITER_SESSION, "statement_timeout", "100ms")
    async with Replica(database_url, database_limits=IMPATIENT) as one:
        command = await one.bound_hold("r-1", socks=1)
        await one.execute(hold(socks=1))
        await sql.execute("SET synchronous_commit = local")
        with unreachable_standby(postgres):
            await until(sql, "SELECT setting = 'nobody' FROM pg_settings WHERE name = 'synchronous_standby_names'")
            with pytest.raises(OutcomeUnknown):
                await one.execute(command, within=0.8)
        assert isinstance(await one.execute(command), Done)

    await assert_effects(catalog, sql, held=2)


@contextmanager
def unreachable_standby(postgres):
    # A session of ALTER SYSTEM does not write, and so does not wait.
    postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    postgres.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        postgres.execute("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.execute("SELECT pg_reload_conf()")
