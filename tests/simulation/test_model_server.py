"""The model guarantees what PostgreSQL guarantees, and no more."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from holdfast_inventory.postgres.columns import ITEM, SALE
from holdfast_inventory.postgres.statements import arguments, load, parameters_of
from lab.simulation.chance import stream
from lab.simulation.driver import ModelDriver
from lab.simulation.faults import Conditions, FaultInjector
from lab.simulation.loop import BEGINNING_SECONDS, Process, VirtualTimeLoop
from lab.simulation.server import IDLE_IN_TRANSACTION_SECONDS, LOCK_TIMEOUT_SECONDS, Server
from lab.simulation.trace import Trace

BEGIN, COMMIT, ROLLBACK = "BEGIN", "COMMIT", "ROLLBACK"
LOCK, APPEND = load("batch")["lock_sale"], load("batch")["append"]
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
DELETE, KEEP, GET = (load("schedules")[name] for name in ("delete_schedule", "keep_schedule", "get_schedule"))


class Bench:
    """A server, and connections of one process."""

    def __init__(self, *, has_standby=False, **rates):
        self.loop = VirtualTimeLoop()
        self.trace = Trace(self.loop)
        self.injector = FaultInjector(self.loop, self.trace, stream(1, "weather"), Conditions(has_standby=has_standby))
        self.server = Server(self.loop, self.trace, self.injector)
        self.driver = ModelDriver(self.server, Process("bench"))
        self.server.tables.put(
            "schedules", "", "hourly", {"schedule_id": "hourly", "created_at": CREATED, "revision": 0}
        )

    async def connect(self):
        return await self.driver.connect("", timeout=1.0, server_settings={})

    async def in_transaction(self, *statements):
        connection = await self.connect()
        await connection.execute(BEGIN)
        for statement in statements:
            await connection.execute(*statement)
        return connection

    async def is_there(self):
        return await (await self.connect()).fetchrow(GET, "hourly") is not None

    def fate(self, fate):
        """Set the fault of every statement from now on."""
        self.injector.change(Conditions(rates=((fate, 1.0),)) if fate else Conditions())


@pytest.fixture
def bench():
    return Bench()


def run(bench, work):
    try:
        bench.loop.run_until_complete(work)
    finally:
        bench.loop.bury()


def test_a_write_is_seen_by_its_own_transaction_first_and_by_others_after_its_commit(bench):
    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        assert await writer.fetchrow(GET, "hourly") is None
        assert await bench.is_there()
        await writer.execute(COMMIT)
        assert not await bench.is_there()

    run(bench, work())


def test_what_is_rolled_back_never_was(bench):
    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        await writer.execute(ROLLBACK)
        assert await bench.is_there()

    run(bench, work())


def test_a_lock_is_waited_for_and_then_what_was_committed_is_seen(bench):
    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        other = await bench.in_transaction()
        kept = asyncio.ensure_future(other.fetchval(KEEP, "hourly", CREATED, 0))
        await asyncio.sleep(0.1)
        assert not kept.done()
        await writer.execute(COMMIT)
        assert await kept is None

    run(bench, work())


def test_shared_locks_do_not_wait_for_each_other(bench):
    async def work():
        await bench.in_transaction((KEEP, "hourly", CREATED, 0))
        other = await bench.in_transaction()
        assert await other.fetchval(KEEP, "hourly", CREATED, 0)

    run(bench, work())


def test_a_lock_is_waited_for_so_long_and_the_transaction_is_then_lost(bench):
    async def work():
        await bench.in_transaction((DELETE, "hourly"))
        other = await bench.in_transaction()
        began = bench.loop.time()
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.fetchval(KEEP, "hourly", CREATED, 0)
        assert bench.loop.time() - began == pytest.approx(LOCK_TIMEOUT_SECONDS, abs=0.01)
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await other.execute(COMMIT)

    run(bench, work())


def test_a_commit_that_was_sent_is_done_though_its_client_is_gone(bench):
    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        bench.injector.change(Conditions(latency=2.0))
        committing = asyncio.ensure_future(writer.execute(COMMIT))
        await asyncio.sleep(0)
        writer.terminate()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await committing
        bench.fate(None)
        assert await bench.is_there()
        await asyncio.sleep(4)
        assert not await bench.is_there()

    run(bench, work())


@pytest.mark.parametrize(("fate", "is_done"), [("cut", False), ("answer lost", True), ("last word", True)])
def test_a_lost_connection_proves_nothing_of_a_commit(bench, fate, is_done):
    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        bench.fate(fate)
        with pytest.raises((ConnectionResetError, asyncpg.AdminShutdownError)):
            await writer.execute(COMMIT)
        assert writer.is_closed()
        bench.fate(None)
        await asyncio.sleep(0.1)
        assert await bench.is_there() is not is_done

    run(bench, work())


def test_a_client_that_vanished_keeps_its_locks_until_it_has_idled_too_long(bench):
    async def work():
        await bench.in_transaction((DELETE, "hourly"))
        await asyncio.sleep(IDLE_IN_TRANSACTION_SECONDS - 0.1)
        assert bench.server.busy
        await asyncio.sleep(0.2)
        assert not bench.server.busy
        assert await bench.is_there()

    run(bench, work())


def test_a_commit_is_neither_seen_nor_acknowledged_before_the_standby_has_it():
    bench = Bench(has_standby=True)

    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        bench.injector.stall_standby(3.0)
        committing = asyncio.ensure_future(writer.execute(COMMIT))
        await asyncio.sleep(2.5)
        assert not committing.done()
        assert await bench.is_there()
        await committing
        assert bench.loop.time() >= BEGINNING_SECONDS + 3.0
        assert not await bench.is_there()

    run(bench, work())


def test_what_only_the_primary_has_is_seen_when_the_wait_is_cut_off_and_lost_in_a_failover():
    bench = Bench(has_standby=True)

    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        bench.injector.stall_standby(9.0)
        committing = asyncio.ensure_future(writer.execute(COMMIT))
        await asyncio.sleep(0.5)
        writer.backend.terminated()
        await asyncio.wait({committing})
        assert committing.exception() is not None or writer.is_severed
        assert not await bench.is_there()
        bench.server.fail_over(0.0)
        bench.injector.heal()
        assert await bench.is_there()

    run(bench, work())


def test_a_standby_that_is_given_up_makes_a_commit_a_warning():
    bench = Bench(has_standby=True)

    async def work():
        writer, heard = await bench.in_transaction((DELETE, "hourly")), []
        writer.add_log_listener(lambda _connection, message: heard.append(message.severity_en))
        bench.injector.stall_standby(9.0)
        committing = asyncio.ensure_future(writer.execute(COMMIT))
        await asyncio.sleep(0.5)
        bench.server.stop_waiting_for_standby()
        await committing
        assert heard == ["WARNING"]

    run(bench, work())


def test_a_restart_keeps_what_was_committed_and_forgets_what_was_not(bench):
    async def work():
        writer = await bench.in_transaction((DELETE, "hourly"))
        bench.server.restart(tells=True)
        await asyncio.sleep(0.1)
        assert writer.is_closed() or writer.is_severed
        bench.injector.heal()
        assert await bench.is_there()

    run(bench, work())


def put_up_a_sale(bench):
    row = dict.fromkeys(SALE) | {"sale_id": "drop", "per_customer_limit": 0, "sequence": 0, "revision": 3}
    row |= {"hold_time": timedelta(seconds=1), "max_hold_time": timedelta(seconds=1)}
    bench.server.tables.put("sales", "drop", "", row)


def appending(bench, revision, *, level=(), age=timedelta()):
    values = dict.fromkeys(parameters_of(APPEND), ()) | {"sale_id": "drop", "revision": revision, "row_version": 0}
    values |= {"read_at": bench.server.now() - age, "first_sequence": 1, "sequence": 0}
    values |= {f"levels.{column}": (value,) for column, value in zip(ITEM, level, strict=False)}
    return APPEND, *arguments(APPEND, values)


def revision(bench):
    return bench.server.tables.partition("sales", "drop")[""]["revision"]


def test_an_append_outside_of_a_transaction_commits_by_itself_and_lets_go_of_its_lock(bench):
    async def work():
        put_up_a_sale(bench)
        connection = await bench.connect()
        assert await connection.fetchval(*appending(bench, 3))
        assert revision(bench) == 4
        assert await (await bench.connect()).fetchval(*appending(bench, 4))

    run(bench, work())


def test_an_append_waits_for_the_lock_and_compares_what_it_finds_then(bench):
    async def work():
        put_up_a_sale(bench)
        other = await bench.in_transaction((LOCK, "drop"), appending(bench, 3))
        append = asyncio.ensure_future((await bench.connect()).fetchval(*appending(bench, 3)))
        await asyncio.sleep(0.1)
        assert not append.done()
        await other.execute(COMMIT)
        assert not await append
        assert revision(bench) == 4

    run(bench, work())


def test_an_append_of_what_was_read_two_seconds_ago_does_nothing(bench):
    async def work():
        put_up_a_sale(bench)
        assert not await (await bench.connect()).fetchval(*appending(bench, 3, age=timedelta(seconds=2)))
        assert revision(bench) == 3

    run(bench, work())


def test_a_string_of_statements_begins_and_locks(bench):
    async def work():
        put_up_a_sale(bench)
        first, second = await bench.connect(), await bench.connect()
        await first.execute("BEGIN; SELECT FROM sales WHERE sale_id = 'drop' FOR NO KEY UPDATE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await second.fetchval(*appending(bench, 3))
        assert await first.fetchval(*appending(bench, 3))
        await first.execute(COMMIT)
        assert revision(bench) == 4

    run(bench, work())


def test_the_check_constraints_hold(bench):
    async def work():
        put_up_a_sale(bench)
        connection = await bench.connect()
        with pytest.raises(asyncpg.CheckViolationError) as violation:
            # More is held than is on hand.
            await connection.fetchval(*appending(bench, 3, level=("shoe", 1, 2, 0, 0, 1, "", "")))
        assert violation.value.constraint_name == "items_held_check"
        assert revision(bench) == 3
        assert await (await bench.connect()).fetchval(*appending(bench, 3))

    run(bench, work())
