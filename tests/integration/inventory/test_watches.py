"""Watches on a real ledger: two replicas sell, and watchers of either see everything once and in order."""

import asyncio
from contextlib import aclosing

from holdfast_inventory.domain.errors import DatabaseUnavailable, OutcomeUnknown
from holdfast_inventory.domain.sale import NewItem
from holdfast_inventory.watches.fanout import StockFanout
from holdfast_inventory.watches.feed import Change, Heartbeat, Snapshot
from lab.kit.replica import UNMEASURED
from tests.support.postgres import on_every_version

SALE = "drop-1"
BOUND_SECONDS = 30


class Follower:
    """A reader of a stock watch that checks its promises."""

    def __init__(self):
        self.levels = {}
        self.sequence = None
        self.token = ""
        self.snapshots = 0
        self.events = 0

    async def follow(self, events):
        """Read one event."""
        async with asyncio.timeout(BOUND_SECONDS):
            event = await anext(events)
        match event:
            case Snapshot():
                self.snapshots += 1
                self.levels = {item.item_id: item for item in event.items}
            case Change():
                assert event.previous_sequence == self.sequence
                assert [item.item_id for item in event.items] == sorted({item.item_id for item in event.items})
                assert max(item.version for item in event.items) == event.sequence
                self.levels |= {item.item_id: item for item in event.items}
            case Heartbeat():
                assert event.sequence == self.sequence
        self.sequence, self.token = event.sequence, event.resume_token
        self.events += 1
        return event

    @property
    def hears_bell(self):
        """Whether it has seen the last change of `shop`."""
        return "bell" in self.levels and self.levels["bell"].held > 0


async def shop(replica, rounds):
    """Hold, sell and release concurrently, so that batches grow."""

    async def one(number):
        reservation_id = await replica.hold("shoe", "sock", quantity=1 + number % 3)
        if number % 3:
            await (replica.confirm if number % 3 == 1 else replica.release)(reservation_id)

    for begin in range(0, rounds, 10):
        await asyncio.gather(*(one(number) for number in range(begin, begin + 10)))


async def shop_at(replicas, rounds):
    await replicas[0].put_up(shoe=10_000, sock=10_000, bell=1)

    async def all_of_it():
        await asyncio.gather(*(shop(replica, rounds) for replica in replicas))
        await replicas[-1].hold("bell")

    return asyncio.create_task(all_of_it())


async def levels_of(replica):
    sequence, items = await replica.catalog.snapshot(SALE)
    return sequence, {item.item_id: item for item in items}


@on_every_version
async def test_a_watch_sees_what_two_replicas_do_in_order_without_gap(start_replica):
    replicas = [await start_replica(), await start_replica()]
    shopping = await shop_at(replicas, 50)
    follower = Follower()
    async with aclosing(replicas[0].feed.watch_stock(SALE)) as events:
        while not follower.hears_bell:
            await follower.follow(events)
    await shopping
    assert (follower.sequence, follower.levels) == await levels_of(replicas[0])
    assert follower.snapshots == 1


async def test_a_reader_that_is_cut_off_resumes_at_any_replica_and_misses_nothing(start_replica):
    replicas = [await start_replica(), await start_replica()]
    shopping = await shop_at(replicas, 60)
    follower = Follower()
    while not follower.hears_bell:
        replica = replicas[follower.events % 2]
        async with aclosing(replica.feed.watch_stock(SALE, follower.token)) as events:
            for _ in range(5):
                if not follower.hears_bell:
                    await follower.follow(events)
    await shopping
    assert (follower.sequence, follower.levels) == await levels_of(replicas[0])
    assert follower.snapshots == 1


@on_every_version
async def test_a_movement_watch_gives_the_ledger_itself(start_replica):
    one, other = await start_replica(), await start_replica()
    shopping = await shop_at([one, other], 50)
    seen = []
    async with aclosing(other.feed.watch_movements(SALE)) as events, asyncio.timeout(BOUND_SECONDS):
        while not shopping.done():
            seen += (await anext(events)).movements
        await shopping
        sequence, levels = await levels_of(one)
        while len(seen) < sequence:
            seen += (await anext(events)).movements
    assert [movement.sequence for movement in seen] == list(range(1, sequence + 1))
    for item_id, item in levels.items():
        own = [movement for movement in seen if movement.item_id == item_id]
        assert sum(movement.on_hand_delta for movement in own) == item.on_hand
        assert sum(movement.held_delta for movement in own) == item.held
        assert sum(movement.sold_delta for movement in own) == item.sold


async def test_an_item_that_another_replica_adds_appears_in_the_watch(start_replica):
    one, other = await start_replica(), await start_replica()
    await one.put_up(shoe=1)
    follower = Follower()
    async with aclosing(one.feed.watch_stock(SALE)) as events:
        await follower.follow(events)
        await other.catalog.create_item(SALE, NewItem("empty", 0, 0))
        hat = await other.catalog.create_item(SALE, NewItem("hat", 7, 3))
        change = await follower.follow(events)
    assert change.items == [hat]
    assert hat.on_hand == 7


async def test_a_watch_outlives_its_connections(start_replica, sql):
    replica = await start_replica()
    await replica.put_up(shoe=1_000)
    follower = Follower()
    async with aclosing(replica.feed.watch_stock(SALE)) as events:
        await follower.follow(events)
        for held in range(1, 5):
            await sql.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            while True:
                try:
                    await replica.hold("shoe")
                    break
                except (DatabaseUnavailable, OutcomeUnknown):
                    continue
            while follower.levels["shoe"].held < held:
                await follower.follow(events)
    assert follower.snapshots == 1


async def test_the_fanout_tells_a_watch_at_once_of_what_another_replica_does(start_replica, valkey_url):
    one, other = await start_replica(poll_seconds=3600), await start_replica()
    await one.put_up(shoe=1_000)
    fanouts = []
    for replica in (one, other):
        fanout = StockFanout(valkey_url, replica.feed.nudge, UNMEASURED, channel_prefix="watches")
        replica.listeners.append(fanout.publish)
        await fanout.start()
        fanouts.append(fanout)
    follower = Follower()
    try:
        async with aclosing(one.feed.watch_stock(SALE)) as events:
            await follower.follow(events)
            change = asyncio.create_task(follower.follow(events))
            async with asyncio.timeout(BOUND_SECONDS):
                while not change.done():
                    # Again until the subscription exists.
                    await other.hold("shoe")
                    await asyncio.wait([change], timeout=0.2)
    finally:
        for fanout in fanouts:
            await fanout.stop()
    assert isinstance(change.result(), Change)


async def test_a_follower_may_leave_and_come_back_while_the_sale_goes_on(start_replica):
    replica = await start_replica()
    await replica.put_up(shoe=1_000, sock=1_000)
    shopping = asyncio.create_task(shop(replica, 40))
    while not shopping.done():
        events = [replica.feed.watch_stock(SALE) for _ in range(20)]
        snapshots = await asyncio.gather(*map(anext, events))
        assert len({(snapshot.sequence, tuple(snapshot.items)) for snapshot in snapshots}) <= len(
            {snapshot.sequence for snapshot in snapshots}
        )
        for watch in events:
            await watch.aclose()
    await shopping
    assert replica.feed.watches == 0
