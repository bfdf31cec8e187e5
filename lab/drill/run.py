"""A drill: start everything, run the scenarios, check the results, and stop everything."""

import asyncio
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast_devstack.postgres import PostgresServer
from holdfast_devstack.valkey import ValkeyServer
from lab.drill import scenarios
from lab.drill.clients import ITEM
from lab.drill.effects import faults_of_effects
from lab.drill.load import Load
from lab.drill.orchestrator import EDGE, GATEWAY, INVENTORY, Orchestrator
from lab.drill.request_ledger import RequestLedger
from lab.drill.verdict import Row, judge
from lab.kit.grpc_client import GrpcClient
from lab.kit.webhook_follower import WebhookFollower

_REPLICAS = {INVENTORY: 3, GATEWAY: 2, EDGE: 1}
_WARM_UP_SECONDS = 2.0
_BETWEEN_SECONDS = 1.0
_SCENARIO_SECONDS = 180.0
_UNITS = 1_000_000_000


@dataclass
class Plan:
    """What to drill. `fault` is planted in every process; `pace` multiplies the load."""

    output: Path
    scenarios: tuple = tuple(scenarios.ALL)
    brief: bool = False
    fault: str | None = None
    pace: float = 1.0


@dataclass
class Result:
    rows: list
    replicas: list
    book: RequestLedger
    watchers: list = field(default_factory=list)

    @property
    def passed(self):
        return all(row.passed for row in self.rows)

    @property
    def faults(self):
        return [f"{row.name}: {fault}" for row in self.rows for fault in row.faults]


async def drill(plan):
    """Run it and return its result. Raises only if it could not be started."""
    plan.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="holdfast-drill-") as directory:
        postgres = PostgresServer(Path(directory) / "postgres", settings={"max_connections": "300"})
        valkey = ValkeyServer(Path(directory) / "valkey")
        try:
            postgres.start()
            valkey.start()
            postgres.create_database("drill")
            logs = plan.output / "logs"
            logs.mkdir(exist_ok=True)
            orchestrator = Orchestrator(logs, postgres.url("drill"), valkey.url, plan.fault)
            return await _drill(plan, orchestrator, postgres)
        finally:
            valkey.stop()
            postgres.stop()


async def _drill(plan, orchestrator, postgres):
    await orchestrator.start()
    book = RequestLedger(plan.output / "requests.jsonl")
    result = Result([], orchestrator.replicas, book)
    load = None
    try:
        await orchestrator.migrate()
        for name, count in _REPLICAS.items():
            await asyncio.gather(*(orchestrator.add(name) for _ in range(count)))
        sale, follower = await _open_sale(orchestrator)
        load = Load(orchestrator, book, sale, follower, plan.pace)
        result.watchers = load.watchers
        load.start()
        stage = scenarios.Stage(orchestrator, postgres, load, book, sale, plan.brief)
        result.rows.append(await _play("nothing", _nothing, stage))
        for name in plan.scenarios:
            result.rows.append(await _play(name, scenarios.ALL[name], stage))
        result.rows.append(await _finish(stage))
        # Requests may have ended after their scenario.
        for row in result.rows:
            judge(row, result.rows, book, orchestrator.replicas)
        return result
    finally:
        if load is not None:
            await load.close()
        await orchestrator.close()
        book.close()


async def _nothing(stage):
    """nothing happens"""
    await asyncio.sleep(_WARM_UP_SECONDS)


async def _open_sale(orchestrator):
    """Open the sale, and let a webhook follow it from its first movement on."""
    async with GrpcClient(orchestrator.serving(INVENTORY)[0].target) as client:
        sale = await client.open_sale(hold_seconds=900, **{ITEM: _UNITS})
        follower = WebhookFollower(sale)
        await follower.start(client)
    return sale, follower


async def _play(name, scenario, stage):
    row = Row(name, scenario.__doc__, stage.book.now())
    resumed = sum(watcher.resumed for watcher in stage.load.watchers)
    stage.faults = row.faults
    try:
        async with asyncio.timeout(_SCENARIO_SECONDS):
            await scenario(stage)
            await asyncio.sleep(_BETWEEN_SECONDS)
    except Exception as error:  # noqa: BLE001 - the other scenarios are to be played all the same
        traceback.print_exc()
        row.faults.append(f"it could not be played: {type(error).__name__}: {error}")
    row.ended_at = stage.book.now()
    row.watches_resumed = sum(watcher.resumed for watcher in stage.load.watchers) - resumed
    for watcher in stage.load.watchers:
        row.faults += watcher.gaps
        watcher.gaps = []
    print(f"{row.ended_at - row.began_at:6.1f} s  {name}", flush=True)
    return row


async def _finish(stage):
    """Wait for the clients' answers, compare the records, and stop the processes in order if there is time."""
    row = Row("the-end", "books compared, everything stopped in order", stage.book.now())
    await stage.load.finish_shopping()
    row.faults += [f"{entry.id} has no answer" for entry in stage.book.open.values()][:5]
    orchestrator = stage.orchestrator
    async with GrpcClient(orchestrator.serving(INVENTORY)[0].target) as client:
        faults, sequence = await faults_of_effects(client, stage.sale, stage.book)
    row.faults += faults
    for watcher in stage.load.watchers:
        if not await watcher.has_seen(sequence):
            row.faults.append(f"{watcher.name} came to {watcher.sequence} of {sequence} only")
        row.faults += watcher.gaps
    await stage.load.close()
    for names in [(EDGE, GATEWAY, INVENTORY)] if stage.brief else [(EDGE,), (GATEWAY,), (INVENTORY,)]:
        await asyncio.gather(*(orchestrator.remove(each) for name in names for each in orchestrator.serving(name)))
    row.faults += stage.book.faults
    row.ended_at = stage.book.now()
    return row
