"""Watches, on a ledger in memory and in virtual time."""

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from holdfast_inventory.domain.errors import (
    DatabaseUnavailable,
    Draining,
    Internal,
    InvalidRequest,
    NotFound,
    Overloaded,
    ReaderTooSlow,
    WatchExpired,
)
from holdfast_inventory.watches.feed import Change, FeedLimits, Heartbeat, Snapshot, StockFeed
from holdfast_inventory.watches.followers import PAGE_CHANGES, PAGE_MOVEMENTS, FollowerLimits
from holdfast_inventory.watches.lifetime import Lifetime
from tests.support.paper_ledger import SALE, PaperLedger

LIMITS = FeedLimits(heartbeat_seconds=10, poll_seconds=0.3, reader_seconds=60)


@pytest.fixture
def ledger():
    return PaperLedger(shoe=100_000, sock=100_000)


@pytest.fixture
def make_feed(ledger, clock):
    @asynccontextmanager
    async def make(**limits):
        feed = StockFeed(ledger, replace(LIMITS, **limits), clock=clock)
        try:
            yield feed
        finally:
            await feed.end_watches()
            assert feed.watches == 0

    return make


@pytest.fixture
async def feed(make_feed):
    async with make_feed() as feed:
        yield feed


async def take(events, count):
    return [await anext(events) for _ in range(count)]


async def follow(events, last_sequence):
    """Read up to a sequence and check that there is no gap. Return the reader's levels."""
    levels, sequence = {}, None
    async for event in events:
        match event:
            case Snapshot():
                levels, sequence = {item.item_id: item for item in event.items}, event.sequence
            case Change():
                assert sequence in (None, event.previous_sequence)
                levels |= {item.item_id: item for item in event.items}
                sequence = event.sequence
        if sequence == last_sequence:
            return levels
    raise AssertionError("the watch ended")


# The beginning


async def test_a_stock_watch_begins_with_a_snapshot(feed, ledger):
    ledger.hold("shoe", quantity=3)
    async with aclosing(feed.watch_stock(SALE)) as events:
        snapshot = await anext(events)
    assert (ledger.levels(), 1, False) == (list(snapshot.items), snapshot.sequence, snapshot.lagged)


@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_an_unknown_sale_is_not_found(feed, watch):
    with pytest.raises(NotFound):
        await anext(getattr(feed, watch)("other"))


async def test_a_watch_does_not_begin_while_the_database_is_away(feed, ledger):
    ledger.failure = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        await anext(feed.watch_stock(SALE))
    ledger.failure = None
    async with aclosing(feed.watch_stock(SALE)) as events:
        assert isinstance(await anext(events), Snapshot)


async def test_two_watches_that_begin_together_share_one_read(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as one, aclosing(feed.watch_stock(SALE)) as other:
        await asyncio.gather(anext(one), anext(other))
    assert ledger.reads == ["snapshot"]


# Changes


async def test_a_local_commit_is_seen_without_a_read(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        committed = ledger.hold("sock", "shoe")
        feed.on_committed(committed)
        change = await anext(events)
    assert ledger.reads == ["snapshot"]
    assert (
        [item.item_id for item in change.items],
        change.previous_sequence,
        change.sequence,
    ) == (["shoe", "sock"], 0, 2)


async def test_a_commit_elsewhere_is_seen_at_the_next_look(feed, ledger, elapsed):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        ledger.hold("shoe")
        change = await anext(events)
    assert (0, 1, [ledger.items["shoe"]]) == (change.previous_sequence, change.sequence, change.items)
    assert elapsed() <= 0.35


async def test_a_nudge_is_quicker_than_the_next_look(feed, ledger, elapsed):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        ledger.hold("shoe")
        feed.nudge(SALE, 1)
        await anext(events)
    assert elapsed() < 0.05


async def test_a_false_nudge_changes_nothing(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        feed.nudge(SALE, 2**63)
        feed.nudge("other", 1)
        assert isinstance(await anext(events), Heartbeat)


async def test_a_storm_of_nudges_costs_at_most_fifty_reads_a_second(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        for _ in range(1_000):
            feed.nudge(SALE, 10**6)
            await asyncio.sleep(0.001)
    assert ledger.reads.count("list_movements") <= 51


async def test_changes_of_two_replicas_come_in_order_without_gap(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        reading = asyncio.create_task(follow(events, 300))
        for turn in range(100):
            ledger.hold("shoe", "sock")
            feed.on_committed(ledger.hold("sock"))
            if turn % 7 == 0:
                await asyncio.sleep(0.01)
        assert ledger.items == await reading


async def test_a_commit_during_a_read_is_not_told_twice(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        ledger.may_answer.clear()
        first = ledger.hold("shoe")
        feed.nudge(SALE, 1)
        await asyncio.sleep(0.1)
        feed.on_committed(first)
        feed.on_committed(ledger.hold("shoe"))
        ledger.may_answer.set()
        await asyncio.sleep(1)
        changes = await take(events, 2)
        assert [(change.previous_sequence, change.sequence) for change in changes] == [(0, 1), (1, 2)]
        assert isinstance(await anext(events), Heartbeat)


async def test_an_item_that_is_created_during_the_watch_appears_with_its_stock(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        ledger.items["hat"] = ledger.items["shoe"]._replace(item_id="hat", on_hand=0, per_customer_limit=7)
        ledger.hold("hat", quantity=4)
        change = await anext(events)
    assert [ledger.items["hat"]] == change.items


async def test_heartbeats_come_while_nothing_happens(feed, elapsed):
    async with aclosing(feed.watch_stock(SALE)) as events:
        snapshot, *heartbeats = await take(events, 4)
    assert [Heartbeat(0, snapshot.resume_token)] * 3 == heartbeats
    assert 30 <= elapsed() < 31


# Resuming


async def test_a_watch_resumes_behind_its_token(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        ledger.hold("shoe")
        token = (await anext(events)).resume_token
    ledger.hold("shoe", "sock")
    ledger.hold("sock", quantity=5)
    async with aclosing(feed.watch_stock(SALE, token)) as events:
        changes = await take(events, 2)
    assert [(change.previous_sequence, change.sequence) for change in changes] == [(1, 3), (3, 4)]
    assert [item.held for item in changes[0].items] == [2, 1]
    assert [ledger.items["sock"]] == changes[1].items


async def test_a_hundred_that_resume_together_share_one_replay(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        token = (await anext(events)).resume_token
    for _ in range(10):
        ledger.hold("shoe")
    ledger.reads.clear()
    watches = [feed.watch_stock(SALE, token) for _ in range(100)]
    levels = await asyncio.gather(*(follow(events, 10) for events in watches))
    for events in watches:
        await events.aclose()
    assert [{"shoe": ledger.items["shoe"]}] * 100 == levels
    assert ledger.reads == ["snapshot", "list_movements"]


async def test_a_replay_goes_on_without_gap_into_what_happens_meanwhile(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as one:
        token = (await anext(one)).resume_token
    for _ in range(5):
        ledger.hold("shoe")
    async with aclosing(feed.watch_stock(SALE)) as one, aclosing(feed.watch_stock(SALE, token)) as other:
        await anext(one)
        ledger.may_answer.clear()
        resuming = asyncio.create_task(follow(other, 7))
        await asyncio.sleep(0.1)
        feed.on_committed(ledger.hold("sock"))
        feed.on_committed(ledger.hold("sock"))
        ledger.may_answer.set()
        assert ledger.items == await resuming


async def test_a_token_of_a_replica_that_is_ahead_is_honoured(feed, ledger, make_feed):
    async with make_feed() as elsewhere, aclosing(feed.watch_stock(SALE)) as slow:
        await anext(slow)
        ledger.hold("shoe", "shoe")
        async with aclosing(elsewhere.watch_stock(SALE)) as events:
            token = (await anext(events)).resume_token
        async with aclosing(feed.watch_stock(SALE, token)) as events:
            heartbeat = await anext(events)
            ledger.hold("shoe")
            change = await anext(events)
    assert (heartbeat.sequence, change.previous_sequence, change.sequence) == (2, 2, 3)


async def test_a_token_of_a_future_that_was_lost_begins_again(feed, ledger, make_feed):
    ledger.hold("shoe", "sock", "sock")
    async with aclosing(feed.watch_stock(SALE)) as events:
        token = (await anext(events)).resume_token
    del ledger.movements[1:]
    async with aclosing(feed.watch_stock(SALE, token)) as events:
        snapshot = await anext(events)
    assert (snapshot.lagged, snapshot.sequence) == (True, 1)


async def test_too_far_behind_begins_again_with_a_snapshot(make_feed, ledger):
    async with make_feed(followers=FollowerLimits(replay_movements=20)) as feed:
        async with aclosing(feed.watch_stock(SALE)) as events:
            token = (await anext(events)).resume_token
        for _ in range(21):
            ledger.hold("shoe")
        async with aclosing(feed.watch_stock(SALE, token)) as events:
            snapshot = await anext(events)
    assert (True, 21, ledger.levels()) == (snapshot.lagged, snapshot.sequence, snapshot.items)


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "A" * 5_000, "=", "\0"])
@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_a_token_that_is_none_is_refused_by_its_field(feed, watch, token):
    with pytest.raises(InvalidRequest) as refusal:
        await anext(getattr(feed, watch)(SALE, resume_token=token))
    assert [violation.field for violation in refusal.value.violations] == ["resume_token"]


async def test_a_token_holds_for_its_sale_and_its_kind_of_watch_only(feed):
    async with aclosing(feed.watch_stock(SALE)) as events:
        token = (await anext(events)).resume_token
    with pytest.raises(InvalidRequest):
        await anext(feed.watch_stock("drop-2", token))
    with pytest.raises(InvalidRequest):
        await anext(feed.watch_movements(SALE, 0, token))


# Slow readers


async def test_a_reader_that_falls_out_of_the_ring_is_reported_that_it_lagged(make_feed, ledger):
    async with (
        make_feed(followers=FollowerLimits(ring_items=10)) as feed,
        aclosing(feed.watch_stock(SALE)) as events,
    ):
        await anext(events)
        for _ in range(11):
            feed.on_committed(ledger.hold("shoe"))
        snapshot = await anext(events)
        assert (True, 11, ledger.levels()) == (snapshot.lagged, snapshot.sequence, snapshot.items)
        feed.on_committed(ledger.hold("shoe"))
        assert (await anext(events)).previous_sequence == 11


async def test_a_reader_within_the_ring_gets_every_change(feed, ledger):
    count = 3 * PAGE_CHANGES
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        for _ in range(count):
            feed.on_committed(ledger.hold("shoe"))
        assert list(range(count)) == [change.previous_sequence for change in await take(events, count)]


@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_a_reader_that_does_not_read_is_let_go(feed, ledger, watch):
    ledger.hold("shoe")
    async with aclosing(getattr(feed, watch)(SALE)) as events:
        await anext(events)
        await asyncio.sleep(59)
        await anext(events)
        await asyncio.sleep(61)
        with pytest.raises(ReaderTooSlow):
            await anext(events)
    assert feed.watches == 0


# Bounds, ends and outages


async def test_the_number_of_watches_is_bounded(make_feed):
    async with make_feed(max_watches=2) as feed, aclosing(feed.watch_stock(SALE)) as one:
        await anext(one)
        async with aclosing(feed.watch_movements(SALE)) as other:
            await anext(other)
            with pytest.raises(Overloaded) as refusal:
                await anext(feed.watch_stock(SALE))
            assert refusal.value.retry_after_seconds > 0
        async with aclosing(feed.watch_stock(SALE)) as another:
            await anext(another)


async def test_the_number_of_watches_of_one_sale_is_bounded(make_feed):
    async with make_feed(max_watches_per_sale=1) as feed, aclosing(feed.watch_stock(SALE)) as one:
        await anext(one)
        with pytest.raises(Overloaded):
            await anext(feed.watch_stock(SALE))


async def test_nothing_is_read_when_nobody_watches(feed, ledger):
    for watch in (feed.watch_stock, feed.watch_movements):
        async with aclosing(watch(SALE)) as events:
            await anext(events)
    await asyncio.sleep(1)
    ledger.reads.clear()
    feed.on_committed(ledger.hold("shoe"))
    feed.nudge(SALE, 100)
    await asyncio.sleep(60)
    assert ledger.reads == []


async def test_a_cancelled_reader_leaves_its_place(feed):
    events = feed.watch_stock(SALE)
    await anext(events)
    waiting = asyncio.create_task(anext(events))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert feed.watches == 0


async def test_every_watch_ends_when_the_process_drains(feed, ledger):
    ledger.hold("shoe")
    stock, movements = feed.watch_stock(SALE), feed.watch_movements(SALE)
    await take(stock, 1)
    await take(movements, 1)
    waiting = [asyncio.create_task(anext(events)) for events in (stock, movements)]
    await asyncio.sleep(1)
    await feed.end_watches()
    assert [Draining, Draining] == [type(task.exception()) for task in waiting]
    assert feed.watches == 0
    with pytest.raises(Draining):
        await anext(feed.watch_stock(SALE))


async def test_draining_waits_only_so_long_for_a_reader_that_is_stuck(feed, elapsed):
    async with aclosing(feed.watch_stock(SALE)) as stuck:
        await anext(stuck)
        await feed.end_watches()
        assert elapsed() == pytest.approx(2, abs=0.5)
        with pytest.raises(Draining):
            await anext(stuck)


@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_a_watch_outlives_an_outage_and_goes_on_without_gap(feed, ledger, watch, elapsed):
    ledger.hold("shoe")
    async with aclosing(getattr(feed, watch)(SALE)) as events:
        await anext(events)
        ledger.failure = DatabaseUnavailable()
        ledger.hold("shoe")
        heartbeats = await take(events, 3)
        assert elapsed() >= 30
        ledger.failure = None
        event = await anext(events)
    assert elapsed() < 33
    if watch == "watch_stock":
        assert [Heartbeat] * 3 == [type(heartbeat) for heartbeat in heartbeats]
        assert (event.previous_sequence, event.sequence) == (1, 2)
    else:
        assert [heartbeat.movements for heartbeat in heartbeats] == [[]] * 3
        assert [movement.sequence for movement in event.movements] == [2]


@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_a_watch_ends_when_the_database_stays_away(feed, ledger, watch, elapsed):
    ledger.hold("shoe")
    async with aclosing(getattr(feed, watch)(SALE)) as events:
        await anext(events)
        ledger.failure = DatabaseUnavailable()
        with pytest.raises(DatabaseUnavailable):
            await take(events, 100)
    assert 60 <= elapsed() < 65


async def test_a_fault_of_ours_ends_the_watch_without_detail(feed, ledger):
    async with aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        ledger.failure = ZeroDivisionError("secret")
        with pytest.raises(Internal):
            await anext(events)
    ledger.failure = None
    async with aclosing(feed.watch_stock(SALE)) as events:
        assert isinstance(await anext(events), Snapshot)


async def test_after_a_long_outage_a_watch_begins_again_rather_than_reading_everything(make_feed, ledger):
    async with (
        make_feed(followers=FollowerLimits(replay_movements=PAGE_MOVEMENTS)) as feed,
        aclosing(feed.watch_stock(SALE)) as events,
    ):
        await anext(events)
        for _ in range(2 * PAGE_MOVEMENTS):
            ledger.hold("shoe")
        snapshot = await anext(events)
    assert (snapshot.lagged, snapshot.sequence) == (True, 2 * PAGE_MOVEMENTS)


# Movements


async def test_movements_come_from_any_sequence_in_order(feed, ledger):
    for _ in range(PAGE_MOVEMENTS + 5):
        ledger.hold("shoe")
    async with aclosing(feed.watch_movements(SALE, 3)) as events:
        first, second = await take(events, 2)
        feed.on_committed(ledger.hold("sock"))
        third = await anext(events)
    assert ledger.movements[3:] == [*first.movements, *second.movements, *third.movements]


async def test_a_movement_watch_resumes_behind_its_token_whatever_after_sequence_says(feed, ledger):
    ledger.hold("shoe", "sock")
    async with aclosing(feed.watch_movements(SALE)) as events:
        token = (await anext(events)).resume_token
    ledger.hold("shoe")
    async with aclosing(feed.watch_movements(SALE, 1, token)) as events:
        assert ledger.movements[2:] == (await anext(events)).movements


async def test_a_movement_watch_waits_for_the_sequence_that_it_begins_behind(feed, ledger):
    async with aclosing(feed.watch_movements(SALE, 2)) as events:
        assert (await anext(events)).movements == []
        waiting = asyncio.create_task(anext(events))
        await asyncio.sleep(1)
        ledger.hold("shoe", "shoe", "sock")
        assert ledger.movements[2:] == (await waiting).movements


async def test_a_movement_reader_behind_the_ring_reads_the_ledger(make_feed, ledger):
    async with (
        make_feed(followers=FollowerLimits(ring_movements=4)) as feed,
        aclosing(feed.watch_movements(SALE)) as slow,
        aclosing(feed.watch_movements(SALE)) as quick,
    ):
        ledger.hold("shoe")
        await asyncio.gather(anext(slow), anext(quick))
        seen = []
        for _ in range(10):
            feed.on_committed(ledger.hold("shoe"))
            seen += (await anext(quick)).movements
        assert ledger.movements[1:] == seen
        assert ledger.movements[1:] == (await anext(slow)).movements


# The end


async def until_expired(events):
    """Return the events before WatchExpired, which has the token of the last one."""
    latest, expired = None, None
    try:
        async for event in events:
            latest = event
            yield event
    except WatchExpired as error:
        expired = error
    assert latest.resume_token == expired.resume_token


@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_a_watch_that_resumes_hears_at_once_that_it_is_well(feed, ledger, elapsed, watch):
    ledger.hold("shoe")
    async with aclosing(getattr(feed, watch)(SALE)) as events:
        token = (await anext(events)).resume_token
    async with aclosing(getattr(feed, watch)(SALE, resume_token=token)) as events:
        assert (await anext(events)).resume_token == token
        assert elapsed() < 0.01
        await anext(events)
    assert elapsed() >= LIMITS.heartbeat_seconds


@pytest.mark.parametrize("watch", ["watch_stock", "watch_movements"])
async def test_a_quiet_watch_ends_at_the_first_heartbeat_behind_its_time(make_feed, elapsed, watch):
    async with make_feed(lifetime=Lifetime(25, 25)) as feed, aclosing(getattr(feed, watch)(SALE)) as events:
        told = [event async for event in until_expired(events)]
    assert elapsed() == pytest.approx(30, abs=0.1)
    assert len(told) == 4


async def test_a_busy_watch_ends_in_time_and_what_comes_then_is_told_to_the_next(make_feed, ledger, elapsed):
    async def sell():
        while True:
            feed.on_committed(ledger.hold("shoe", "sock"))
            await asyncio.sleep(0.1)

    async with make_feed(lifetime=Lifetime(3, 5)) as feed:
        selling = asyncio.create_task(sell())
        sequence, token = 0, ""
        for _ in range(10):
            began = elapsed()
            async for event in until_expired(feed.watch_movements(SALE, resume_token=token)):
                for movement in event.movements:
                    assert movement.sequence == sequence + 1
                    sequence += 1
                token = event.resume_token
            assert 3 <= elapsed() - began < 5.5
        selling.cancel()
    assert sequence > 500


async def test_a_reader_that_takes_long_over_each_of_many_changes_is_ended_in_time(make_feed, ledger, elapsed):
    async with make_feed(lifetime=Lifetime(60, 60)) as feed, aclosing(feed.watch_stock(SALE)) as events:
        await anext(events)
        for _ in range(PAGE_CHANGES):
            feed.on_committed(ledger.hold("shoe"))
        async for _ in until_expired(events):
            await asyncio.sleep(20)
    assert elapsed() < 60 + 20 + 1


async def test_those_whom_a_drain_ends_are_reported_different_times_to_come_back(make_feed):
    async with make_feed() as feed:
        watches = [feed.watch_stock(SALE) for _ in range(20)]
        await asyncio.gather(*map(anext, watches))
        ending = asyncio.create_task(feed.end_watches())
        ended = await asyncio.gather(*map(anext, watches), return_exceptions=True)
        await ending
    assert {type(error) for error in ended} == {Draining}
    assert len({error.retry_after_seconds for error in ended}) == 20
