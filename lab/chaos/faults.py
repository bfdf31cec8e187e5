"""The faults. Each one begins, lasts, and repairs its damage unless another fault has repaired it already."""

import asyncio
import itertools
import random
import signal
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import NamedTuple

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from lab.chaos import failpoints
from lab.chaos.history import Kind
from lab.chaos.judge.loss import LOSSY_PROMOTION
from lab.chaos.judge.witness import KILL_IN_COMMIT
from lab.chaos.standby import DATABASE

_CLOCK_JUMP_SECONDS = 3600
_AROUND_COMMIT = (failpoints.BEFORE_COMMIT, failpoints.IN_COMMIT, failpoints.BEFORE_REPLY)
_SQL_SECONDS = 2.0
_EVERY_SECONDS = 0.25


class Stage:
    """What faults act on, and the history that records them."""

    def __init__(self, topology, recorder):
        self.topology, self.recorder = topology, recorder
        self.databases_taken = asyncio.Lock()
        """Held by the fault that has killed, frozen or replaced a database server: one at a time."""
        self.failures = []
        """Faults that could not be injected."""
        self._reached = {}
        topology.desk.on_reached = self._on_reached

    def tell(self, action, target, reason):
        self.recorder.record(Kind.FAULT, action=action, client=target, reason=reason)

    async def play(self, injection):
        """Inject one fault, from its beginning to its end."""
        fault = FAULTS[injection.fault]
        try:
            async with self.databases_taken if fault.takes_databases else nullcontext():
                if fault.tells_itself:
                    await fault.act(self, injection)
                    return
                self.tell(injection.fault, injection.target, "begin")
                await fault.act(self, injection)
                self.tell(injection.fault, injection.target, "end")
        except Exception as error:  # noqa: BLE001 - the others are to be played all the same
            self.failures.append(f"{injection.fault} on {injection.target}: {type(error).__name__}: {error}")

    async def reaches(self, service, point, action, seconds):
        """Arm a point. Return whether the service reached it in time."""
        event = self._reached[service.orders_port, point] = asyncio.Event()
        try:
            if await self.topology.desk.send(service.orders_port, "arm", point=point, action=action) is None:
                return False
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            await self.topology.desk.send(service.orders_port, "disarm")
            return event.is_set()
        return True

    async def ask(self, statement, database=DATABASE):
        """Query the primary directly, without a link."""
        connection = await asyncpg.connect(self.topology.databases.primary.url(database), timeout=_SQL_SECONDS)
        try:
            return await connection.fetch(statement, timeout=_SQL_SECONDS)
        finally:
            connection.terminate()

    def _on_reached(self, port, point, action):
        service = next(each for each in self.topology.services if each.orders_port == port)
        if action != failpoints.LOSE:
            service.was_harmed()
        if event := self._reached.get((port, point)):
            event.set()


class Fault(NamedTuple):
    """A kind of fault. `targets` returns what it can hit. `seconds` is its minimum and maximum duration."""

    act: Callable[[Stage, "object"], Awaitable[None]]
    targets: Callable[[object], list[str]]
    seconds: tuple[float, float] = (1.0, 3.0)
    takes_databases: bool = False
    tells_itself: bool = False


# Processes


async def _kill(stage, injection):
    service = stage.topology.service(injection.target)
    service.kill()
    await service.until_ready()


async def _freeze(stage, injection):
    service = stage.topology.service(injection.target)
    service.freeze()
    await asyncio.sleep(injection.seconds)
    service.thaw()


async def _restart_all(stage, injection):
    for service in stage.topology.inventories if injection.target == "inventories" else stage.topology.gateways:
        await service.restart()


async def _jump_clock(stage, injection):
    name, _, offset_seconds = injection.target.partition(" ")
    port = stage.topology.service(name).orders_port
    await stage.topology.desk.send(port, "clock", offset_seconds=int(offset_seconds))
    await asyncio.sleep(injection.seconds)
    await stage.topology.desk.send(port, "clock", offset_seconds=0)


def _at_point(action, told_as):
    """Return a fault at a point of a service's transaction. It is recorded only when the point was reached."""

    async def act(stage, injection):
        name, _, point = injection.target.partition(" ")
        service = stage.topology.service(name)
        if not await stage.reaches(service, point, action, _REACHED_SECONDS):
            return
        stage.tell(told_as, injection.target, "begin")
        if action == failpoints.KILL:
            await service.until_ready()
        elif action == failpoints.FREEZE:
            await asyncio.sleep(injection.seconds)
            service.thaw()
        stage.tell(told_as, injection.target, "end")

    return act


_REACHED_SECONDS = 4.0

# PostgreSQL

# The errors to expect from a server that another fault may also affect.
_NO_ANSWER = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


async def _terminate_backends(stage, injection):
    for _ in _during(injection.seconds):
        with suppress(*_NO_ANSWER):
            await stage.ask(_TERMINATE)
        await asyncio.sleep(_EVERY_SECONDS)


_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast-inventory'"


async def _kill_primary(stage, injection):
    databases = stage.topology.databases
    databases.primary.kill()
    await asyncio.sleep(injection.seconds)
    await databases.start_primary()


async def _kill_standby(stage, injection):
    databases = stage.topology.databases
    databases.standby.kill()
    await asyncio.sleep(injection.seconds)
    await databases.start_standby()
    await databases.ensure_synchronous()


async def _freeze_primary(stage, injection):
    primary = stage.topology.databases.primary
    primary.freeze()
    await asyncio.sleep(injection.seconds)
    primary.thaw()


async def _freeze_standby(stage, injection):
    standby = stage.topology.databases.standby
    standby.freeze()
    await asyncio.sleep(injection.seconds)
    standby.thaw()


async def _promote_standby(stage, injection):
    """Promote the standby. The action has another name if it lacks commits: not acknowledged, but maybe visible."""
    databases = stage.topology.databases
    action = injection.fault if await _has_caught_up(stage) else LOSSY_PROMOTION
    stage.tell(action, injection.target, "begin")
    await databases.promote()
    stage.tell(action, injection.target, "end")
    await databases.add_standby()


async def _has_caught_up(stage):
    with suppress(*_NO_ANSWER):
        [(caught_up,)] = await stage.ask(_CAUGHT_UP)
        return caught_up
    return False


_CAUGHT_UP = """
SELECT coalesce(bool_or(sync_state = 'sync' AND flush_lsn >= pg_current_wal_flush_lsn()), false)
FROM pg_stat_replication
"""


async def _exhaust_connections(stage, injection):
    """Use up all connections of the server, including those of the services."""
    url = stage.topology.databases.primary.url()
    taken = []
    try:
        with suppress(*_NO_ANSWER):
            await stage.ask(_TERMINATE)
            while True:
                taken.append(await asyncpg.connect(url, timeout=_SQL_SECONDS))
        await asyncio.sleep(injection.seconds)
    finally:
        for connection in taken:
            connection.terminate()


async def _fill_wal_disk(stage, injection):
    """Fill the disk of the WAL: PostgreSQL panics, and cannot recover until there is space again."""
    databases = stage.topology.databases
    primary = databases.primary
    if primary.wal_disk is None:
        return  # The report contains the failure.
    await asyncio.to_thread(primary.wal_disk.fill)
    for _ in _during(injection.seconds):
        with suppress(*_NO_ANSWER):
            await stage.ask("SELECT pg_switch_wal()")
        await asyncio.sleep(_EVERY_SECONDS)
    primary.wal_disk.free()
    await databases.ensure_primary()
    await databases.ensure_synchronous()


# Valkey


async def _kill_valkey(stage, injection):
    valkey = stage.topology.valkey
    valkey.kill()
    await asyncio.sleep(injection.seconds)
    valkey.start()


async def _freeze_valkey(stage, injection):
    child = stage.topology.valkey.child
    child.send_signal(signal.SIGSTOP)
    await asyncio.sleep(injection.seconds)
    child.send_signal(signal.SIGCONT)


async def _flush_valkey(stage, injection):
    with suppress(OSError):
        await asyncio.to_thread(stage.topology.valkey.flush)


async def _garble_valkey(stage, injection):
    """Publish garbage and false messages on the services' channel."""
    chance = random.Random(injection.at)
    garbage = itertools.cycle(
        [
            b"\xff\x00" * 40,
            b"[" * 5000,
            b'{"sale_id": "a", "sequence": 999999999, "origin": "nobody"}',
            b'{"sale_id": "nowhere", "sequence": 1, "origin": "nobody"}',
            b'{"sale_id": 7, "sequence": "seven"}',
            b"null",
        ]
    )
    async with Redis.from_url(stage.topology.valkey.url, socket_timeout=1) as client:
        for _ in _during(injection.seconds, every_seconds=0.02):
            with suppress(RedisError, OSError):
                await client.publish("holdfast:stock-changed", next(garbage))
                await client.set(f"holdfast:{chance.randrange(100)}", chance.randbytes(20))
            await asyncio.sleep(0.02)


# Links


def _on_link(begin):
    """Return a fault that disturbs a link and heals it."""

    async def act(stage, injection):
        link = stage.topology.links[injection.target]
        begin(link)
        await asyncio.sleep(injection.seconds)
        link.heal()

    return act


def _slow(link):
    link.delay_seconds = 0.15


def _drip(link):
    link.drips = True


def _services(topology):
    return [service.name for service in topology.services]


def _points(*points):
    return lambda topology: [f"{inventory.name} {point}" for inventory in topology.inventories for point in points]


def _jumps(topology):
    return [f"{name} {sign}{_CLOCK_JUMP_SECONDS}" for name in _services(topology) for sign in "+-"]


def _links(topology):
    return list(topology.links)


def _one(name):
    return lambda _topology: [name]


def _during(seconds, every_seconds=_EVERY_SECONDS):
    return range(max(1, round(seconds / every_seconds)))


def _database(act, target, *seconds):
    return Fault(act, _one(target), seconds or (0.3, 1.5), takes_databases=True)


def _point(action, told_as, *points):
    return Fault(_at_point(action, told_as), _points(*points), (0.5, 2.5), tells_itself=True)


FAULTS = {
    "kill": Fault(_kill, _services),
    "freeze": Fault(_freeze, _services),
    "rolling-restart": Fault(_restart_all, lambda _: ["inventories", "gateways"]),
    "jump-clock": Fault(_jump_clock, _jumps, (3.0, 6.0)),
    "kill-before-begin": _point(failpoints.KILL, "kill-before-begin", failpoints.BEFORE_BEGIN),
    "kill-after-read": _point(failpoints.KILL, "kill-after-read", failpoints.AFTER_READ),
    KILL_IN_COMMIT: _point(failpoints.KILL, KILL_IN_COMMIT, *_AROUND_COMMIT),
    "freeze-after-read": _point(failpoints.FREEZE, "freeze-after-read", failpoints.AFTER_READ),
    "freeze-in-commit": _point(failpoints.FREEZE, "freeze-in-commit", *_AROUND_COMMIT),
    "lose-in-commit": _point(failpoints.LOSE, "lose-in-commit", *_AROUND_COMMIT),
    "terminate-backends": Fault(_terminate_backends, _one("primary"), (0.3, 2.0)),
    "kill-primary": _database(_kill_primary, "primary"),
    "kill-standby": _database(_kill_standby, "standby"),
    "freeze-primary": _database(_freeze_primary, "primary", 1.0, 3.0),
    "freeze-standby": _database(_freeze_standby, "standby", 1.0, 3.0),
    "promote-standby": _database(_promote_standby, "standby")._replace(tells_itself=True),
    "exhaust-connections": _database(_exhaust_connections, "primary", 1.0, 2.0),
    "fill-wal-disk": _database(_fill_wal_disk, "primary", 1.0, 2.0),
    "kill-valkey": Fault(_kill_valkey, _one("valkey")),
    "freeze-valkey": Fault(_freeze_valkey, _one("valkey")),
    "flush-valkey": Fault(_flush_valkey, _one("valkey")),
    "garble-valkey": Fault(_garble_valkey, _one("valkey"), (2.0, 4.0)),
    "delay-link": Fault(_on_link(_slow), _links, (2.0, 4.0)),
    "drip-link": Fault(_on_link(_drip), _links, (1.0, 3.0)),
    "cut-link": Fault(_on_link(lambda link: link.cut()), _links),
    "reset-link": Fault(_on_link(lambda link: link.reset()), _links, (0.1, 0.2)),
    "swallow-requests": Fault(_on_link(lambda link: link.swallow_requests()), _links),
    "swallow-answers": Fault(_on_link(lambda link: link.swallow_answers()), _links),
}
