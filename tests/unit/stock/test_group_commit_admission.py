"""The commands that are served and refused under overload, on a ledger whose batches the test controls."""

import asyncio
from collections import Counter

from holdfast_inventory.domain.commands import Confirm, Create
from holdfast_inventory.domain.decide import Done, Swept
from holdfast_inventory.domain.errors import DatabaseUnavailable, DeadlineInQueue, Overloaded
from holdfast_inventory.postgres.faults import Rejected
from holdfast_inventory.stock.group_commit import GroupCommit, GroupCommitLimits
from lab.kit.replica import UNMEASURED
from tests.support.shopping import hold

BATCH_SECONDS = 0.1


class Groups(GroupCommit):
    """A group commit whose batches take some time and grant everything."""

    def __init__(self, **limits):
        super().__init__(None, GroupCommitLimits(**limits), UNMEASURED)
        self.batches = []
        self.batch_seconds = BATCH_SECONDS

    async def _commit(self, sale_id, batch, *, exclusive):
        commands = [waiting.command for waiting in batch]
        self.batches.append(commands)
        await asyncio.sleep(self.batch_seconds)
        answers = (Done(None, replayed=False) if isinstance(command, Create) else Swept(0) for command in commands)
        return list(zip(batch, answers, strict=True))

    def send(self, *commands, sale_id="drop", within=None):
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        return [self.enqueue(sale_id, command, deadline) for command in commands]


class Rejecting(Groups):
    """A group commit in which no two commands can be applied together."""

    def __init__(self, seconds_alone):
        super().__init__()
        self._seconds_alone = seconds_alone

    async def _commit(self, sale_id, batch, *, exclusive):
        if len(batch) > 1:
            self.batch_seconds = self._seconds_alone
            raise Rejected("no")
        return await super()._commit(sale_id, batch, exclusive=exclusive)


def confirm(reservation):
    return Confirm(reservation.reservation_id, "o-1", False, "")


def creates(count, customer=None):
    return [hold(customer or f"c-{number}", socks=1) for number in range(count)]


async def busy(groups, sale_id="drop"):
    """Start a batch, so that later commands wait."""
    [future] = groups.send(hold("first", socks=1), sale_id=sale_id)
    await asyncio.sleep(0)
    return future


def refused(futures):
    return [future.done() and isinstance(future.result(), Overloaded) for future in futures]


async def test_a_confirm_goes_before_creates_that_came_before_it():
    groups = Groups(batch_commands=2)
    await busy(groups)
    early, late = creates(3), confirm(hold(socks=1))
    await asyncio.gather(*groups.send(*early, late))
    assert groups.batches[1:] == [[late, early[0]], early[1:]]


async def test_a_confirm_that_finds_no_room_takes_that_of_the_youngest_create():
    groups = Groups(queue_commands=6)
    await busy(groups)
    waiting = groups.send(*creates(3))
    [late] = groups.send(confirm(hold(socks=1)))
    assert refused([*waiting, late]) == [False, False, True, False]
    assert isinstance(await late, Swept)


async def test_when_only_confirms_wait_the_youngest_is_refused():
    groups = Groups(queue_commands=4)
    await busy(groups)
    assert refused(groups.send(*(confirm(each) for each in creates(3)))) == [False, False, True]


async def test_a_granted_request_that_comes_again_goes_before_new_ones():
    groups = Groups(batch_commands=1)
    granted = hold("patient", socks=1)._replace(bound=True)
    await asyncio.gather(*groups.send(granted))
    await busy(groups)
    new = creates(2)
    await asyncio.gather(*groups.send(*new, granted))
    assert groups.batches[2:] == [[granted], [new[0]], [new[1]]]


async def test_a_customer_who_floods_a_sale_waits_behind_itself():
    groups = Groups(batch_commands=2)
    await busy(groups)
    flood, other = creates(6, "hostile"), hold("c-1", socks=1)
    await asyncio.gather(*groups.send(*flood, other))
    assert groups.batches[1] == [flood[0], other]


async def test_a_customer_who_floods_a_sale_is_refused_in_place_of_others():
    groups = Groups(queue_commands=20)
    await busy(groups)
    flood = groups.send(*creates(100, "hostile"))
    others = groups.send(*creates(9))
    assert (refused(others), Counter(refused(flood))) == ([False] * 9, {True: 99, False: 1})


async def test_a_sale_that_is_flooded_leaves_room_for_others():
    groups = Groups(queue_commands=20)
    for sale_id in ("hot", "calm"):
        await busy(groups, sale_id)
    flood = groups.send(*creates(100), sale_id="hot")
    calm = groups.send(*creates(3), sale_id="calm")
    assert (Counter(refused(flood)), refused(calm)) == ({True: 90, False: 10}, [False] * 3)
    await asyncio.gather(*flood, *calm)
    assert groups.waiting == 0


async def test_no_more_wait_than_can_be_served_in_time():
    groups = Groups(batch_commands=2, queue_seconds=2.5 * BATCH_SECONDS)
    await busy(groups)
    first = groups.send(*creates(4))
    await asyncio.gather(first[0])  # Now it is known how long a batch takes.
    waiting = groups.send(*creates(10))
    # After the batch in flight there is time for two more.
    assert Counter(refused(waiting)) == {True: 6, False: 4}
    assert {type(answer) for answer in await asyncio.gather(*first, *waiting)} == {Done, Overloaded}


async def test_who_could_not_begin_before_the_deadline_is_refused_at_once():
    groups = Groups(batch_commands=1)
    first, *_ = groups.send(*creates(5))
    await first  # Now it is known how long a batch takes.
    hasty, patient = groups.send(hold("hasty", socks=1), within=0.25), groups.send(hold("c", socks=1), within=9)
    assert refused([*hasty, *patient]) == [True, False]


async def test_behind_a_batch_that_hangs_a_deadline_is_reported_when_it_passes():
    groups = Groups()
    groups.batch_seconds = 30.0
    await busy(groups)
    [waiting] = groups.send(hold("c", socks=1), within=1.0)
    async with asyncio.timeout(1.5):
        assert isinstance(await waiting, DeadlineInQueue)


async def test_behind_a_batch_that_hangs_patience_ends_when_it_is_over():
    groups = Groups(patience_seconds=2.0)
    groups.batch_seconds = 30.0
    await busy(groups)
    [waiting] = groups.send(hold("c", socks=1))
    async with asyncio.timeout(2.5):
        assert isinstance(await waiting, DatabaseUnavailable)


async def test_behind_batches_that_follow_each_other_a_deadline_is_reported_when_it_passes():
    groups = Groups(batch_commands=1)
    groups.batch_seconds = 0.2
    await busy(groups)
    [overtaken] = groups.send(hold("c", socks=1), within=1.0)
    groups.send(*(confirm(each) for each in creates(20)))
    async with asyncio.timeout(1.25):
        assert isinstance(await overtaken, DeadlineInQueue)


async def test_before_its_batch_is_decided_a_deadline_is_reported_when_it_passes():
    groups = Groups()
    groups.batch_seconds = 30.0
    [undecided] = groups.send(hold("c", socks=1), within=1.0)
    async with asyncio.timeout(1.5):
        assert isinstance(await undecided, DeadlineInQueue)


async def test_behind_the_first_half_of_a_rejected_batch_a_deadline_is_reported_when_it_passes():
    groups = Rejecting(seconds_alone=30.0)
    await busy(groups)
    waiting = groups.send(*creates(2), within=1.0)
    async with asyncio.timeout(1.5):
        assert isinstance(await waiting[1], DeadlineInQueue)


async def test_with_an_empty_queue_the_deadline_may_be_near():
    groups = Groups()
    [future] = groups.send(hold(socks=1), within=0.01)
    assert isinstance(await future, Done)


async def test_whose_batch_would_end_too_late_is_not_put_into_it():
    groups = Groups(batch_commands=2)
    await busy(groups)
    waiting = [*groups.send(*creates(4)), *groups.send(hold("late", socks=1), within=2.5 * BATCH_SECONDS)]
    answers = await asyncio.gather(*waiting)
    assert [type(answer) for answer in answers] == [Done] * 4 + [DeadlineInQueue]


async def test_creates_that_are_overtaken_all_the_time_are_refused_in_the_end():
    groups = Groups(batch_commands=1, patience_seconds=3.5 * BATCH_SECONDS)
    await busy(groups)
    [create] = groups.send(hold(socks=1))
    for _ in range(4):
        groups.send(confirm(hold(socks=1)))
    assert isinstance(await create, Overloaded)


async def test_refusals_spread_those_who_come_back():
    groups = Groups(queue_commands=1)
    await busy(groups)
    answers = [future.result().retry_after_seconds for future in groups.send(*creates(50)) if future.done()]
    assert len(set(answers)) > 40
    assert min(answers) > 0


async def test_everybody_has_exactly_one_answer_whatever_comes():
    groups = Groups(batch_commands=3, queue_commands=12, queue_seconds=3 * BATCH_SECONDS)
    futures, deadlines = [], [None, 0.05, 0.2, 9]
    for number in range(200):
        command = hold(f"c-{number % 7}", socks=1)
        if number % 3 == 0:
            command = confirm(command)
        futures += groups.send(command, sale_id=f"sale-{number % 2}", within=deadlines[number % 4])
        if number % 5 == 0:
            await asyncio.sleep(BATCH_SECONDS / 3)
    answers = await asyncio.gather(*futures)
    served = [id(command) for batch in groups.batches for command in batch]
    assert len(served) == len(set(served)) == sum(isinstance(answer, Done | Swept) for answer in answers)
    assert {type(answer) for answer in answers} <= {Done, Swept, Overloaded, DeadlineInQueue}
    assert (groups.waiting, groups._lanes) == (0, {})
