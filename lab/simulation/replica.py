"""One replica of the product, as `holdfast_inventory.app` puts it together, without its server."""

import asyncio
from dataclasses import dataclass, field

from holdfast_inventory.background.expiry import Sweeper
from holdfast_inventory.background.schedules import Scheduler
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from lab.kit import replica as kit
from lab.simulation.chance import SeededEntropy
from lab.simulation.driver import ModelDriver
from lab.simulation.loop import Process, context_of

_CLEANING_STEPS = 50
_GRACE_SECONDS = 10.0


class ReplicaDiedError(Exception):
    """The connection to the replica broke: the outcome is unknown to the caller."""


@dataclass(frozen=True)
class Make:
    """The settings of the replicas of a run."""

    database: DatabaseLimits = field(default_factory=DatabaseLimits)
    groups: GroupCommitLimits = field(default_factory=GroupCommitLimits)
    sweep_seconds: float = 1.0
    schedule_seconds: float = 2.0
    sold_out_seconds: float = 0.2
    schedules: bool = True
    busy_share: float = 0.0
    """The CPU load, as a share of time: batches gather commands only if the CPU is busy."""


class Replica(kit.Replica):
    """A process of the product. `tell` is called with the changes of its commits."""

    def __init__(self, name, server, random, make, tell):
        self.process = Process(name)
        self.name = name
        self._loop = server.loop
        self._context = context_of(self.process)
        self._driver = ModelDriver(server, self.process)
        self._calls = {}
        self.is_serving = False
        self.leaks = []
        entropy = self.entropy = SeededEntropy(random)
        super().__init__(
            Database("postgresql://model", make.database, entropy=entropy, driver=self._driver),
            lambda change: tell(self, change),
            limits=make.groups,
            sold_out_seconds=make.sold_out_seconds,
            entropy=entropy,
            cpu_seconds=lambda: make.busy_share * server.loop.time(),
        )
        self._sweeper = Sweeper(
            self.catalog, self.ledger, kit.UNMEASURED, interval_seconds=make.sweep_seconds, entropy=entropy
        )
        self._scheduler = Scheduler(self.catalog, interval_seconds=make.schedule_seconds, entropy=entropy)
        self._schedules = make.schedules

    def look_every(self, schedule_seconds, sweep_seconds):
        """Let scheduler and sweeper run now, and from then on at these intervals."""
        for rounds, seconds in ((self._scheduler, schedule_seconds), (self._sweeper, sweep_seconds)):
            rounds._interval_seconds = seconds
            rounds.wake()

    async def start(self, patience_seconds=60.0):
        """Start as the product does. Raises UnavailableError if there is no database in that time."""
        await self.run(self._start(patience_seconds))

    async def _start(self, patience_seconds):
        await self.database.open(patience_seconds)
        await self._sweeper.start()
        if self._schedules:
            await self._scheduler.start()
        self.is_serving = True

    async def stop(self):
        """Stop as the product does, in the same order."""
        self.is_serving = False
        calls = list(self._calls)
        if calls:
            # As the server does: calls in progress get this grace.
            await asyncio.wait(calls, timeout=_GRACE_SECONDS)
        for call in calls:
            call.cancel()
        await self.run(self._stop())

    async def _stop(self):
        await self._scheduler.stop()
        await self._sweeper.stop()
        await self.ledger.stop(_GRACE_SECONDS)
        await self.database.close()
        # Cancelled tasks clean up: a new connection, a commit, its transaction, and its caller. That takes steps of the
        # loop, but no time. What still exists after more steps than any of them needs is a leak.
        for _ in range(_CLEANING_STEPS):
            self.leaks = self._leaks()
            if not self.leaks:
                return
            await asyncio.sleep(0)

    def kill(self):
        """Kill it as SIGKILL does: none of its tasks runs again, and the system closes its sockets."""
        self.is_serving = False
        self._loop.kill(self.process)
        calls, self._calls = self._calls, {}
        for call in calls:
            if not call.done():
                call.set_exception(ReplicaDiedError())
        self._driver.vanish()

    def run(self, work):
        """Run a coroutine in the replica. Return a future of its outcome: ReplicaDiedError if the replica dies."""
        outcome = self._loop.create_future()
        self._calls[outcome] = None
        task = self._loop.create_task(work, context=self._context)
        outcome.add_done_callback(lambda _: self._calls.pop(outcome, None) or task.cancel())
        task.add_done_callback(lambda done: _pass_on(done, outcome), context=self._context)
        return outcome

    def _leaks(self):
        """Return what should not exist any more when the replica is idle."""
        database, found = self.database, []
        if self.ledger.waiting or self.ledger._groups._lanes:
            found.append("lanes")
        if database._busy_writers:
            found.append("busy writers")
        if database._writer_places._value != database._limits.writers:
            found.append("writer places")
        if self.ledger._bound_ids._waiting or self.ledger._bound_ids._workers:
            found.append("look-ups of bound ids")
        if database._releases:
            found.append("releases")
        return [f"{self.name} leaks {what}" for what in found]

    @property
    def is_busy(self):
        return bool(self.ledger._groups._lanes)

    @property
    def open_connections(self):
        return self._driver.open_connections


def _pass_on(task, outcome):
    if outcome.done():
        if not task.cancelled():
            task.exception()
        return
    if task.cancelled():
        outcome.cancel()
    elif (error := task.exception()) is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())
