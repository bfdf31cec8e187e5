import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from holdfast_inventory.domain.errors import DeadlineInQueue, InsufficientStock, NotFound, RequestIdReused
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from tests.support.postgres import on_every_version
from tests.support.replicas import Replica, locked, transfer
from tests.support.shopping import hold, new_sale
from tests.support.tcp_proxy import lose_answer, lose_commit, tcp_proxy

THERE = ("a", "socks"), ("b", "socks")
BACK = ("b", "socks"), ("a", "socks")


@pytest.fixture
async def sales(catalog):
    await catalog.create_sale(new_sale("a", socks=100))
    await catalog.create_sale(new_sale("b", socks=100))


async def on_hand(catalog):
    for sale_id in ("a", "b"):
        assert (await catalog.verify(sale_id)).discrepancies == []
    return tuple([(await catalog.get_item(sale_id, "socks")).on_hand for sale_id in ("a", "b")])


@on_every_version
async def test_transfers_both_ways_conserve_units_and_never_wait_for_each_other(database_url, catalog, sales):
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(Replica(database_url)) for _ in range(2)]
        moves = [move for _ in range(15) for move in (transfer(2, *THERE), transfer(1, *BACK))]
        await asyncio.gather(*(replicas[n % 2].ledger.transfer(move, None) for n, move in enumerate(moves)))

    assert await on_hand(catalog) == (85, 115)


async def test_a_transfer_is_done_once(database_url, catalog, sales):
    move = transfer(5, *THERE)
    async with Replica(database_url) as one:
        first = await one.ledger.transfer(move, None)
        again = await one.ledger.transfer(move, None)
        with pytest.raises(RequestIdReused):
            await one.ledger.transfer(replace(move, fingerprint=b"another meaning"), None)

    assert (first.replayed, again.replayed) == (False, True)
    assert (first.source, first.destination) == (again.source, again.destination)
    assert [(told.sale_id, told.sequence) for told in one.commits] == [("a", 2), ("b", 2)]
    assert await on_hand(catalog) == (95, 105)


@pytest.mark.parametrize("loss", [lose_commit, lose_answer])
async def test_a_lost_commit_of_a_transfer_is_resolved(database_url, catalog, sales, loss):
    async with tcp_proxy(database_url) as proxy, Replica(proxy.url) as one:
        proxy.at_next_commits(loss)
        moved = await one.ledger.transfer(transfer(5, *THERE), None)

    assert moved.replayed is False
    assert await on_hand(catalog) == (95, 105)


async def test_a_caller_that_leaves_in_commit_does_not_undo_it(database_url, catalog, sales):
    in_commit, may_commit = asyncio.Event(), asyncio.Event()

    async def wait(_link):
        in_commit.set()
        return await may_commit.wait()

    async with tcp_proxy(database_url) as proxy, Replica(proxy.url) as one:
        proxy.at_next_commits(wait)
        caller = asyncio.ensure_future(one.ledger.transfer(transfer(5, *THERE), None))
        await in_commit.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert one.database.use["writers_busy"] == 1
        may_commit.set()

    assert await on_hand(catalog) == (95, 105)


async def test_what_is_missing_is_refused(database_url, catalog, sales):
    async with Replica(database_url) as one:
        with pytest.raises(InsufficientStock):
            await one.ledger.transfer(transfer(101, *THERE), None)
        with pytest.raises(NotFound, match="sales/nowhere"):
            await one.ledger.transfer(transfer(1, ("a", "socks"), ("nowhere", "socks")), None)
        with pytest.raises(NotFound, match="items/hats"):
            await one.ledger.transfer(transfer(1, ("a", "socks"), ("b", "hats")), None)

    assert await on_hand(catalog) == (100, 100)


async def test_due_holds_keep_nothing_back_from_a_transfer(database_url, catalog, sales, sql):
    async with Replica(database_url, limits=GroupCommitLimits(due_holds=3)) as one:
        for _ in range(8):
            await one.execute(hold(socks=10), sale_id="a")
        await sql.execute("UPDATE reservations SET expires_at = now() - interval '1 minute'")
        await one.ledger.transfer(transfer(100, *THERE), None)

    assert await on_hand(catalog) == (0, 200)


async def test_a_transfer_past_its_deadline_does_nothing(database_url, catalog, sales):
    async with Replica(database_url) as one:
        with pytest.raises(DeadlineInQueue):
            await one.ledger.transfer(transfer(1, *THERE), asyncio.get_running_loop().time())

    assert await on_hand(catalog) == (100, 100)


async def test_a_transfer_waits_for_both_locks(database_url, catalog, sales, sql):
    async with Replica(database_url) as one:
        async with locked(sql, "b"):
            task = asyncio.ensure_future(one.ledger.transfer(transfer(1, *THERE), None))
            await one.statements.seen("begin")  # It has run into lock_timeout.
            assert not task.done()
        await task

    assert await on_hand(catalog) == (99, 101)
