"""A run: start everything, load it, inject faults, heal, drain the stock, and judge."""

import asyncio
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.chaos import leaks
from lab.chaos.clients import GrpcClient, RestClient
from lab.chaos.ending import Ending
from lab.chaos.faults import Stage
from lab.chaos.history import Kind, Recorder, write_ledgers
from lab.chaos.judge import judge
from lab.chaos.judge.pace import pace, paces
from lab.chaos.judge.recovery import RECOVERY_SECONDS
from lab.chaos.judge.verdict import Verdict
from lab.chaos.schedule import Injection
from lab.chaos.topology import Topology
from lab.chaos.watchers import MOVEMENTS, STOCK, Watcher
from lab.chaos.webhooks import WebhookWatcher
from lab.chaos.workload import CLIENTS, SALES, Client, Desk, Habits, Shop
from lab.chaos.yardstick import yardsticks

_WARM_UP_SECONDS = 2.0
_PAUSE_SECONDS = 10.0
_MEASURED_SECONDS = 6.0
_MEASUREMENTS = 3
_CATCH_UP_SECONDS = 10.0
_MOST_ROUNDS = 10
_SHARED_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 2 << 30


@dataclass(frozen=True)
class Shape:
    """The number of each kind of process, and their settings."""

    inventories: int = 3
    gateways: int = 2
    wal_disk: bool = True
    bug: str | None = None
    inventory_settings: Mapping[str, str] = field(default_factory=dict)
    database_settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What to run. `injections` makes the schedule from the seed and the topology."""

    output: Path
    seed: int
    injections: Callable[[int, Topology], Sequence[Injection]]
    seconds: float
    """The duration of the phase with faults."""
    shape: Shape = Shape()
    habits: Habits = field(default_factory=Habits)
    operations: int = 0
    """Faults are repeated until there were this many operations, because machines differ in speed."""
    is_whole: bool = True
    """Whether the rest is bought at the end. Otherwise the run ends when every outcome is known."""


@dataclass
class Result:
    seed: int
    verdict: Verdict | None = None
    injections: Counter = field(default_factory=Counter)
    operations: Counter = field(default_factory=Counter)
    paces: tuple = (None, None)
    """The duration of the phases without faults, before the faults and after healing."""
    replayed: int = 0
    leaks: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    seconds: float = 0.0

    @property
    def passed(self):
        return self.verdict is not None and not self.verdict.violations and not self.verdict.void_because


async def chaos(plan):
    """Run it and return its result. Raises only if it could not be run."""
    plan.output.mkdir(parents=True, exist_ok=True)
    logs = plan.output / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    began_at = time.monotonic()
    with TemporaryDirectory(prefix="holdfast-chaos-", dir=_memory(), ignore_cleanup_errors=True) as directory:
        topology = Topology(Path(directory), logs, plan.shape)
        recorder = Recorder(plan.output / "history.jsonl")
        try:
            await topology.start()
            run = Run(plan, topology, recorder)
            try:
                await run.play()
            finally:
                await run.close()
            run.result.seconds = time.monotonic() - began_at
            return run.result
        finally:
            recorder.close()
            await topology.close()


def _memory():
    """Return a directory in memory, if there is enough: machines do not crash here, so a disk would only be slower."""
    has_room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > _ENOUGH_BYTES
    return _SHARED_MEMORY if has_room and os.access(_SHARED_MEMORY, os.W_OK) else None


class Run:
    """One run on a topology that has been started."""

    def __init__(self, plan, topology, recorder):
        self._plan, self._topology, self._recorder = plan, topology, recorder
        self.result = Result(plan.seed)
        self._stage = Stage(topology, recorder)
        self._desk = Desk(recorder)
        self._shop = Shop(self._desk, plan.seed, plan.habits)
        self._leave = asyncio.Event()
        grpc_addresses = [topology.links[f"client -> {each.name}"].address for each in topology.inventories]
        rest_urls = [f"http://{topology.links[f'client -> {each.name}'].address}" for each in topology.gateways]
        self._grpc = [GrpcClient(grpc_addresses, f"{plan.seed} grpc {number}") for number in range(3)]
        self._rest = [RestClient(rest_urls, f"{plan.seed} rest {number}") for number in range(3)]
        self._clients = [self._client(number) for number in range(CLIENTS)]
        self._tasks = []
        self._watching = []
        self._webhook = WebhookWatcher(recorder, "sales/a")
        self.watchers = [*self._all_watchers(), self._webhook]

    async def play(self):
        await self._open_sales()
        await self._webhook.start(self._grpc[0].one())
        self._tasks = [asyncio.create_task(client.run(self._leave)) for client in self._clients]
        before = await self._warm_up() if self._plan.is_whole else None
        self._shop.open.set()
        self._watching = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        if self._plan.is_whole:
            await self._measure("calm")
        self._phase("load")
        await self._harm()
        await self._topology.repair()
        self._phase("heal")
        if self._plan.is_whole:
            await asyncio.sleep(RECOVERY_SECONDS)
            await self._measure("healed")
        await self._finish_shopping()
        ledgers = await self._end()
        if self._plan.is_whole:
            self.result.leaks += await leaks.leaks(self._topology, before)
            self.result.leaks += [fault for service in self._topology.services for fault in service.faults]
        self._count()
        self.result.paces = paces(self._recorder.events)
        self.result.verdict = judge(self._recorder.events, ledgers, leaks=self.result.leaks)

    async def _end(self):
        """Find out every outcome and, in a whole run, sell everything. Return the ledgers."""
        ending = Ending(self._desk, self._grpc[0])
        self._phase("replay")
        self.result.replayed = await ending.replay()
        if self._plan.is_whole:
            self._phase("drain")
            with suppress(TimeoutError):
                # The ledger shows holds that never end.
                await ending.drain()
            self._phase("sell-out")
            await ending.sell_out()
        self._phase("end")
        ledgers = await ending.read()
        await self._watchers_catch_up(ledgers)
        write_ledgers(self._plan.output / "ledgers.json", ledgers)
        return ledgers

    async def close(self):
        self._leave.set()
        for task in (*self._tasks, *self._watching):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._watching, return_exceptions=True)
        clients: list[GrpcClient | RestClient | WebhookWatcher] = [*self._grpc, *self._rest, self._webhook]
        for client in clients:
            with suppress(Exception):
                await client.close()

    async def _open_sales(self):
        client = self._grpc[0].one()
        for name, template in SALES.items():
            await client.call(ss.CreateSaleRequest(sale_id=name, sale=template), wait_for_ready=True)
        # A planted bug might lose it, and that is not the symptom to find.
        await self._stage.ask("CHECKPOINT")

    async def _warm_up(self):
        """Warm up caches and connections with some load. Return what each service uses when it pauses."""
        self._phase("warm-up")
        self._shop.open.set()
        await asyncio.sleep(_WARM_UP_SECONDS)
        self._shop.open.clear()
        await self._pause()
        return await leaks.measure(self._topology)

    async def _measure(self, phase):
        """Run a phase without faults, and measure the yardsticks. Repeat it if the machine was stopped for so long that
        there are too few measurements.
        """
        for _ in range(_MEASUREMENTS):
            self._phase(phase)
            began = self._recorder.now()
            async with yardsticks(self._recorder, self._topology):
                await asyncio.sleep(_MEASURED_SECONDS)
            if pace(self._recorder.events, began, self._recorder.now()) is not None:
                return

    async def _pause(self):
        async with asyncio.timeout(_PAUSE_SECONDS):
            while any(client.busy for client in self._clients):  # noqa: ASYNC110 - they are two dozen
                await asyncio.sleep(0.02)

    async def _harm(self):
        for _ in range(_MOST_ROUNDS):
            await self._harm_once()
            if self._desk.performed >= self._plan.operations:
                return

    async def _harm_once(self):
        began = asyncio.get_running_loop().time()
        injections = self._plan.injections(self._plan.seed, self._topology)

        async def inject_at(injection):
            await asyncio.sleep(began + injection.at - asyncio.get_running_loop().time())
            await self._stage.play(injection)

        await asyncio.gather(*map(inject_at, injections))
        await asyncio.sleep(began + self._plan.seconds - asyncio.get_running_loop().time())

    async def _finish_shopping(self):
        self._leave.set()
        await asyncio.gather(*self._tasks)

    async def _watchers_catch_up(self, ledgers):
        """Give all watchers the time to see the last movement, and stop them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                for watcher in self.watchers:
                    await watcher.until(len(ledgers[watcher.sale].movements))
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    def _count(self):
        for event in self._recorder.events:
            if event.kind is Kind.FAULT and event.reason == "begin":
                self.result.injections[event.action] += 1
            elif event.kind in (Kind.OK, Kind.FAIL, Kind.INFO):
                self.result.operations[event.kind, event.action, event.reason if event.kind is not Kind.OK else ""] += 1
        self.result.notes += self._stage.failures
        self.result.notes += [
            f"{times} times: {trouble}" for trouble, times in self._topology.databases.troubles.items()
        ]
        if self._topology.databases.wal_disk_missing and self._plan.shape.wal_disk:
            self.result.notes.append("a full disk could not be arranged: no file system may be mounted here")

    def _phase(self, name):
        self._recorder.record(Kind.PHASE, action=name)

    def _client(self, number):
        grpc, rest = self._grpc[number % len(self._grpc)], self._rest[number % len(self._rest)]
        mine, other = (grpc, rest) if number % 2 else (rest, grpc)
        return Client(self._shop, number, mine, other)

    def _all_watchers(self):
        grpc, rest = self._grpc[1], self._rest[1]
        return [
            Watcher(self._recorder, grpc, MOVEMENTS, "sales/a"),
            Watcher(self._recorder, rest, MOVEMENTS, "sales/a"),
            Watcher(self._recorder, grpc, MOVEMENTS, "sales/b"),
            Watcher(self._recorder, grpc, STOCK, "sales/b"),
            Watcher(self._recorder, rest, STOCK, "sales/c"),
        ]
