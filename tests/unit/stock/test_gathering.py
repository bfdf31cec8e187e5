import asyncio
from contextlib import asynccontextmanager, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast_inventory.domain.decide import Done
from holdfast_inventory.stock.gathering import Gathering
from holdfast_inventory.stock.group_commit import GroupCommit, GroupCommitLimits
from tests.support.memory_sale_store import MemorySaleStore
from tests.support.shopping import hold, new_sale
from tests.support.virtual_time import LoopClock, VirtualTimeLoop

BATCH_SECONDS = 0.002


def after(batches, commands=5, busy=1.0):
    """Return the wait after a number of batches during which the thread was busy for this share of the time."""
    gathering = Gathering(most_seconds=0.01)
    for number in range(1, batches + 1):
        now = number * BATCH_SECONDS
        gathering.batch_ended(commands, now, busy * now)
    return gathering.seconds


def test_a_thread_without_time_to_spare_waits_longer_with_each_batch_up_to_a_limit():
    assert [after(batches) for batches in (1, 2, 3, 12)] == pytest.approx([0.0, 0.001, 0.002, 0.01])


def test_where_time_would_be_idle_nothing_is_waited_for():
    assert after(20, busy=0.8) == 0.0


def test_a_lone_command_waits_for_no_other():
    assert after(20, commands=1) == 0.0


@given(st.lists(st.tuples(st.integers(1, 256), st.booleans())), st.integers(1, 256))
def test_whatever_was_before_a_few_idle_batches_end_the_waiting(before, commands):
    gathering, now, cpu = Gathering(most_seconds=0.01), 1.0, 0.0
    for number, is_busy in (*before, *[(commands, False)] * 5):
        now, cpu = now + BATCH_SECONDS, cpu + BATCH_SECONDS * is_busy
        gathering.batch_ended(number, now, cpu)
    assert gathering.seconds == 0.0


class Store(MemorySaleStore):
    """A store with a delay for each batch."""

    @asynccontextmanager
    async def open(self, *arguments, **options):
        await asyncio.sleep(BATCH_SECONDS)
        async with super().open(*arguments, **options) as batch:
            yield batch


class Batches:
    def __init__(self):
        self.sizes = []

    def on_batch(self, size, _seconds):
        self.sizes.append(size)

    def on_waited(self, seconds):
        assert seconds >= 0.0

    def __getattr__(self, _name):
        return lambda *_arguments: None


async def steady_commands(busy):
    """Send a hundred commands, one each half of a millisecond, and return the sizes of their batches."""
    loop, batches, store = asyncio.get_running_loop(), Batches(), Store(LoopClock())
    store.put_up(new_sale(socks=100))
    groups = GroupCommit(store, GroupCommitLimits(), batches, cpu_seconds=lambda: busy * loop.time())
    answers = []
    for _ in range(100):
        answers.append(groups.enqueue("drop", hold(socks=1), None))
        await asyncio.sleep(BATCH_SECONDS / 4)
    assert all(isinstance(answer, Done) for answer in await asyncio.gather(*answers))
    return batches.sizes


@pytest.mark.parametrize(("busy", "fewest", "most"), [(0.0, 4, 6), (1.0, 15, 25)])
def test_where_the_cpu_is_the_limit_batches_gather_more_commands(busy, fewest, most):
    with closing(VirtualTimeLoop()) as loop:
        sizes = loop.run_until_complete(steady_commands(busy))
    assert sizes[0] == 1
    assert fewest <= max(sizes) <= most
    assert sum(sizes) == 100
