"""How batches use the store: when they commit, and what they do after a concurrent change."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_inventory.domain.commands import Sweep
from holdfast_inventory.domain.decide import Done
from holdfast_inventory.domain.errors import InsufficientStock, SaleClosed
from holdfast_inventory.ports import InDoubt
from holdfast_inventory.stock.group_commit import GroupCommit, GroupCommitLimits
from tests.support.memory_sale_store import MemorySaleStore
from tests.support.shopping import adjust, confirm, hold, new_sale, release, take_back


class Unobserved:
    def __init__(self):
        self.levels = []

    def on_read(self, began, sale, now, items, holds_end_at):
        self.levels += [(item.item_id, item.available) for item in items]

    def __getattr__(self, _name):
        return lambda *_arguments: None


class Store(MemorySaleStore):
    """A store that records how batches are opened and committed. `meanwhile` runs before each commit and may fail."""

    def __init__(self):
        super().__init__()
        self.opened, self.commits = [], 0
        self.meanwhile = None
        self.put_up(new_sale(socks=3))

    @asynccontextmanager
    async def open(self, sale_id, commands, due_limit, *, exclusive):
        self.opened.append(exclusive)
        async with super().open(sale_id, commands, due_limit, exclusive=exclusive) as batch:
            yield Observed(self, batch)


class Observed:
    def __init__(self, store, batch):
        self._store, self._batch = store, batch
        self.state = batch.state

    async def commit(self, decision):
        if self._store.meanwhile is not None:
            await self._store.meanwhile(self._batch)
        await self._batch.commit(decision)
        self._store.commits += 1


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def observer():
    return Unobserved()


@pytest.fixture
def groups(store, observer):
    return GroupCommit(store, GroupCommitLimits(), observer)


async def ask(groups, command):
    return await groups.enqueue("drop", command, None)


async def others_are_quicker(batch):
    batch.sale.revision += not batch.exclusive


async def test_a_change_is_committed_without_keeping_others_out(groups, store):
    assert isinstance(await ask(groups, hold(socks=1)), Done)
    assert (store.opened, store.commits) == ([False], 1)


async def test_a_replay_is_committed_and_a_refusal_is_not(groups, store):
    command = hold(socks=3)
    await ask(groups, command)
    assert (await ask(groups, command)).replayed
    assert store.commits == 2
    assert isinstance(await ask(groups, hold(socks=1)), InsufficientStock)
    assert store.commits == 2


@pytest.mark.parametrize(("closed_seconds_ago", "commits"), [(1, 1), (10, 0)])
async def test_a_refusal_is_committed_while_an_earlier_attempt_could_still_be_on_its_way(
    groups, store, closed_seconds_ago, commits
):
    now = SYSTEM_CLOCK.now()
    store.put_up(
        new_sale(socks=3, open_at=now - timedelta(minutes=1), close_at=now - timedelta(seconds=closed_seconds_ago))
    )
    assert isinstance(await ask(groups, hold(socks=1)), SaleClosed)
    assert store.commits == commits


async def test_a_batch_that_others_have_overtaken_is_decided_again_with_others_kept_out(groups, store):
    store.meanwhile = others_are_quicker
    answers = await asyncio.gather(*(ask(groups, hold(socks=1)) for _ in range(2)))

    assert all(isinstance(answer, Done) for answer in answers)
    assert (store.opened, store.commits) == ([False, True], 1)


async def test_nothing_is_reported_of_a_batch_that_others_have_overtaken(groups, store, observer):
    store.meanwhile = others_are_quicker
    await ask(groups, hold(socks=1))
    assert observer.levels == [("socks", 2)]


async def ask_elsewhere(store, command):
    """Execute a command by another replica."""
    async with MemorySaleStore.open(store, "drop", [command], 10, exclusive=False) as other:
        await other.commit(other.sale.rows.decide(other.state, [command]))


def lose_a_commit(store, *, then):
    """Let the next commit do nothing and lose its answer, and `then` be executed by another replica."""

    async def lose(batch):
        store.meanwhile = None
        batch.sale.append(batch.sale.rows.decide(batch.state, [Sweep()]))
        await ask_elsewhere(store, then)
        raise InDoubt

    store.meanwhile = lose


def lose_an_answer(store):
    """Let the next commit succeed and lose its answer."""

    async def lose(batch):
        store.meanwhile = None
        batch.sale.append(batch.sale.rows.decide(batch.state, [store.sent]))
        raise InDoubt

    store.meanwhile = lose


async def test_after_a_lost_commit_a_refusal_is_committed(groups, store):
    """Until then, the lost commit could still take effect."""
    lose_a_commit(store, then=hold("other", socks=3))
    assert isinstance(await ask(groups, hold(socks=1)), InsufficientStock)
    assert store.commits == 1


@pytest.fixture(params=["create", "confirm", "release", "adjust", "return"])
async def command(request, groups):
    match request.param:
        case "create":
            return hold(socks=1)
        case "confirm":
            return confirm((await ask(groups, hold(socks=1))).reservation)
        case "release":
            return release((await ask(groups, hold(socks=1))).reservation)
        case "adjust":
            return adjust("socks", 1)
        case "return":
            return take_back((await ask(groups, hold(socks=1, confirm=True))).reservation, socks=1)


async def test_what_another_replica_executed_after_a_lost_commit_is_a_replay(groups, store, command):
    lose_a_commit(store, then=command)
    assert (await ask(groups, command)).replayed


async def test_what_a_lost_commit_executed_is_not_a_replay(groups, store, command):
    store.sent = command
    lose_an_answer(store)
    assert not (await ask(groups, command)).replayed


async def test_what_competes_for_a_sale_is_remembered_when_nothing_waits(groups, store):
    store.meanwhile = others_are_quicker
    for customer in ("a", "b", "c"):
        await ask(groups, hold(customer, socks=1))

    # One miss, an exclusive batch after it; another, and two.
    assert store.opened == [False, True, False, True, True]
