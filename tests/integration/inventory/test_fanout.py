"""Redis that works, and Redis that is killed, frozen, flushed, full, forbidden, silent, or full of garbage."""

import asyncio
import signal
import socket
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from holdfast_devstack.valkey import ValkeyServer
from holdfast_inventory.ports import Committed
from holdfast_inventory.watches import fanout
from holdfast_inventory.watches.fanout import NoFanout, StockFanout

pytestmark = pytest.mark.usefixtures("cut_off_connections_are_collected")
BOUND_SECONDS = 20
CHANNEL = "holdfast:stock-changed"


class Counts:
    def __init__(self):
        self.took, self.failed = [], []
        self.changed = asyncio.Event()

    def redis_took(self, operation, seconds):
        self.took.append(operation)
        self.changed.set()

    def redis_failed(self, operation):
        self.failed.append(operation)
        self.changed.set()

    async def until_failed(self, operation):
        async with asyncio.timeout(BOUND_SECONDS):
            while operation not in self.failed:
                self.changed.clear()
                await self.changed.wait()


class Replica:
    """A fan-out, and the messages that it has received."""

    def __init__(self, url, **options):
        self.heard = asyncio.Queue()
        self.counts = Counts()
        self.fanout = StockFanout(url, lambda *change: self.heard.put_nowait(change), self.counts, **options)

    async def hears(self, expected):
        async with asyncio.timeout(BOUND_SECONDS):
            while await self.heard.get() != expected:
                pass


@asynccontextmanager
async def replicas(*urls, **options):
    started = [Replica(url, **options) for url in urls]
    for replica in started:
        await replica.fanout.start()
    try:
        yield started
    finally:
        async with asyncio.timeout(2 * len(started)):
            for replica in started:
                await replica.fanout.stop()


def commit(sequence, sale_id="drop-1"):
    return Committed(sale_id, sequence - 1, sequence, [])


async def speak_until_heard(speaker, listener, sequence):
    """Publish repeatedly, as commits do, until a message arrives: subscriptions take some time."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            sequence += 1
            speaker.fanout.publish(commit(sequence))
            try:
                async with asyncio.timeout(0.2):
                    await listener.hears(("drop-1", sequence))
            except TimeoutError:
                continue
            return sequence


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(fanout, "_PING_SECONDS", 0.3)
    monkeypatch.setattr(fanout, "_MOST_RETRY_SECONDS", 0.3)


async def test_a_commit_is_heard_by_the_other_replica_and_not_by_its_own(valkey_url):
    async with replicas(valkey_url, valkey_url) as (one, other):
        await speak_until_heard(one, other, 0)
        assert one.heard.empty()


async def test_replicas_under_another_prefix_hear_nothing(valkey_url):
    async with replicas(valkey_url, valkey_url) as (one, other), replicas(valkey_url, channel_prefix="x") as (foreign,):
        sequence = await speak_until_heard(one, other, 0)
        await speak_until_heard(one, other, sequence)
        assert foreign.heard.empty()


async def test_commits_that_wait_are_reported_by_their_latest(own_valkey):
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        for sale in range(600):
            for ahead in range(1, 4):
                one.fanout.publish(commit(sequence + ahead, f"sale-{sale}"))
        heard = []
        async with asyncio.timeout(BOUND_SECONDS):
            while len(heard) < 600:
                heard.append(await other.heard.get())
        assert sorted(heard) == sorted((f"sale-{sale}", sequence + 3) for sale in range(600))


async def test_the_queue_is_bounded(free_port, monkeypatch):
    monkeypatch.setattr(fanout, "_MOST_WAITING_SALES", 10)
    async with replicas(f"redis://127.0.0.1:{free_port()}/0") as (alone,):
        for sale in range(1_000):
            alone.fanout.publish(commit(1, f"sale-{sale}"))
        assert len(alone.fanout._latest) == 10
        assert alone.counts.failed.count("publish") >= 990


async def test_a_server_that_comes_up_late_is_found(tmp_path, free_port):
    server = ValkeyServer(tmp_path, port=free_port())
    async with replicas(server.url, server.url) as (one, other):
        await one.counts.until_failed("subscribe")
        server.start()
        try:
            await speak_until_heard(one, other, 0)
        finally:
            server.kill()


async def test_a_killed_server_is_found_again_when_it_returns(own_valkey):
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        own_valkey.kill()
        one.fanout.publish(commit(sequence + 1))
        await one.counts.until_failed("publish")
        await other.counts.until_failed("subscribe")
        own_valkey.start()
        await speak_until_heard(one, other, sequence + 1)


async def test_a_frozen_server_is_noticed_and_found_again_when_it_thaws(own_valkey):
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        own_valkey.child.send_signal(signal.SIGSTOP)
        one.fanout.publish(commit(sequence + 1))
        await one.counts.until_failed("publish")
        await other.counts.until_failed("subscribe")
        with pytest.raises(ConnectionError):
            await one.fanout.ping()
        own_valkey.child.send_signal(signal.SIGCONT)
        await speak_until_heard(one, other, sequence + 1)


async def test_stopping_is_quick_beside_a_frozen_server(own_valkey):
    async with replicas(own_valkey.url) as (alone,):
        own_valkey.child.send_signal(signal.SIGSTOP)
        alone.fanout.publish(commit(1))
        async with asyncio.timeout(2):
            await alone.fanout.stop()
            await alone.fanout.stop()


async def test_flushing_changes_nothing(own_valkey):
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        own_valkey.flush()
        await speak_until_heard(one, other, sequence)


async def test_a_cut_subscription_is_made_again(own_valkey):
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        async with Redis.from_url(own_valkey.url) as client:
            await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await speak_until_heard(one, other, sequence)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"sale_id": 7, "sequence": 1}',
        b'{"sale_id": "drop-1", "sequence": "1"}',
        b'{"sale_id": "drop-1", "sequence": -1}',
        b'{"sale_id": "drop-1", "sequence": 9223372036854775808}',
        b'{"sale_id": "drop-1"}',
        b"[" * 400,
        b"x" * 1_000_000,
    ],
)
async def test_garbage_is_counted_and_ignored(valkey_url, garbage):
    async with replicas(valkey_url, valkey_url) as (one, other), Redis.from_url(valkey_url) as vandal:
        sequence = await speak_until_heard(one, other, 0)
        failures = other.counts.failed.count("subscribe")
        await vandal.publish(CHANNEL, garbage)
        await speak_until_heard(one, other, sequence)
        assert other.counts.failed.count("subscribe") == failures + 1


async def test_a_flood_does_not_keep_the_event_loop_from_others(valkey_url):
    port = int(valkey_url.split(":")[2].split("/")[0])
    async with replicas(valkey_url, valkey_url) as (one, other):
        await speak_until_heard(one, other, 0)
        longest = 0.0

        async def watch_the_loop():
            nonlocal longest
            loop = asyncio.get_running_loop()
            while True:
                before = loop.time()
                await asyncio.sleep(0)
                longest = max(longest, loop.time() - before)

        watching = asyncio.create_task(watch_the_loop())
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PUBLISH %b flood\r\n" % CHANNEL.encode() * 20_000)
        await writer.drain()
        await speak_until_heard(one, other, 1_000)
        watching.cancel()
        writer.close()
        await writer.wait_closed()
        assert longest < 1


async def test_a_server_that_wants_a_password_is_done_without(own_valkey):
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        async with Redis.from_url(own_valkey.url) as client:
            await client.config_set("requirepass", "secret")
            await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            one.fanout.publish(commit(sequence + 1))
            await one.counts.until_failed("publish")
            await other.counts.until_failed("subscribe")
            with pytest.raises(ConnectionError):
                await one.fanout.ping()
            await client.config_set("requirepass", "")
        await speak_until_heard(one, other, sequence + 1)


async def test_a_password_in_the_url_is_used(own_valkey):
    async with Redis.from_url(own_valkey.url) as client:
        await client.config_set("requirepass", "secret")
    url = own_valkey.url.replace("redis://", "redis://:secret@")
    async with replicas(url, url) as (one, other):
        await speak_until_heard(one, other, 0)


async def test_a_full_or_read_only_server_is_survived(own_valkey):
    """A full server and a replica accept PUBLISH; their errors must have no effect."""
    async with replicas(own_valkey.url, own_valkey.url) as (one, other):
        sequence = await speak_until_heard(one, other, 0)
        async with Redis.from_url(own_valkey.url) as client:
            await client.config_set("maxmemory", "1")
            await client.config_set("maxmemory-policy", "noeviction")
            one.fanout.publish(commit(sequence + 1))
            await client.config_set("maxmemory", "64mb")
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")
            one.fanout.publish(commit(sequence + 2))
            await client.execute_command("REPLICAOF", "NO", "ONE")
        await speak_until_heard(one, other, sequence + 2)


async def test_something_else_on_the_port_is_survived():
    connected = asyncio.Event()

    async def babble(reader, writer):
        connected.set()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with replicas(f"redis://127.0.0.1:{port}/0") as (alone,):
            alone.fanout.publish(commit(1))
            await alone.counts.until_failed("publish")
            await alone.counts.until_failed("subscribe")


async def test_a_black_hole_is_survived_within_bounds():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        async with replicas(f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as (alone,):
            alone.fanout.publish(commit(1))
            await alone.counts.until_failed("publish")
            loop = asyncio.get_running_loop()
            before = loop.time()
            with pytest.raises(ConnectionError):
                await alone.fanout.ping()
            assert loop.time() - before < 2


async def test_ping_answers(valkey_url):
    async with replicas(valkey_url) as (alone,):
        await alone.fanout.ping()
        assert "ping" in alone.counts.took


async def test_starting_twice_starts_once(valkey_url):
    async with replicas(valkey_url) as (alone,):
        tasks = list(alone.fanout._tasks)
        await alone.fanout.start()
        assert alone.fanout._tasks == tasks


async def test_a_fanout_that_never_started_stops(valkey_url):
    await Replica(valkey_url).fanout.stop()


async def test_without_redis_there_is_nothing_to_do():
    fanout = NoFanout()
    await fanout.start()
    fanout.publish(commit(1))
    await fanout.ping()
    await fanout.stop()


def test_a_url_that_is_none_is_refused():
    with pytest.raises(ValueError, match="redis://"):
        Replica("https://example.com")
