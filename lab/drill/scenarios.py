"""The scenarios of the drill: what is done to the processes, one after the other, under load.

A scenario gets the stage, and adds faults that only it can see to `stage.faults`. Requests, effects, watches and the
ends of processes are checked for all scenarios in `verdict`.
"""

import asyncio
import signal
import time
from dataclasses import dataclass, field
from functools import partial

from holdfast_devstack.postgres import PostgresServer
from lab.drill.clients import GrpcClient, RestClient, halted
from lab.drill.load import Load, send
from lab.drill.orchestrator import CONNECTION_AGE_SECONDS, EDGE, GATEWAY, INVENTORY, LAG_SECONDS, Orchestrator
from lab.drill.request_ledger import RequestLedger
from lab.kit.metrics import total

QUEUED_CALLS = 200
_NOTICED_SECONDS = 3.0
"""The edge checks health every 1.1 s, and a check takes at most 1 s; then it sends nothing more."""
_DISCOVERY_SECONDS = 4.0
"""The edge resolves names every 2.2 s, and then checks the health of the addresses."""
_LAG_SECONDS = 30.0
_LAG_DRAIN = {
    "HOLDFAST_DRAIN_MIN_SECONDS": 32,
    "HOLDFAST_DRAIN_MAX_SECONDS": 45,
    "HOLDFAST_EDGE_DRAIN_MIN_SECONDS": 32,
    "HOLDFAST_EDGE_DRAIN_MAX_SECONDS": 45,
}
"""If an address is removed late, the drain must last as long: with little traffic, two quiet seconds prove nothing."""
_OUTAGE_SECONDS = 9.0
_HURRY_SECONDS = 15.0
_LONG_DRAIN = {
    "HOLDFAST_DRAIN_MIN_SECONDS": 60,
    "HOLDFAST_DRAIN_MAX_SECONDS": 60,
    "HOLDFAST_EDGE_DRAIN_MIN_SECONDS": 60,
    "HOLDFAST_EDGE_DRAIN_MAX_SECONDS": 60,
}


@dataclass
class Stage:
    """What a scenario works with."""

    orchestrator: Orchestrator
    postgres: PostgresServer
    load: Load
    book: RequestLedger
    sale: str
    brief: bool = False
    """Whether each action is done once instead of to all replicas."""
    faults: list = field(default_factory=list)

    async def replace_all(self, name):
        await self.orchestrator.roll(name, 1 if self.brief else None)

    async def expect(self, what, condition, within_seconds):
        """Add a fault unless the condition becomes true within the time."""
        try:
            async with asyncio.timeout(within_seconds):
                while not condition():  # noqa: ASYNC110 - what another process says has no event
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.faults.append(f"not within {within_seconds:g} s: {what}")

    def command(self, number, label):
        return ("hold", f"{label}-{number}-{time.monotonic_ns()}", self.sale, "")


async def inventories(stage):
    """rolling restart of the inventories"""
    await stage.replace_all(INVENTORY)


async def gateways(stage):
    """rolling restart of the gateways"""
    await stage.replace_all(GATEWAY)


async def edge(stage):
    """rolling restart of the edge"""
    await stage.replace_all(EDGE)


async def next_version(stage):
    """version N to N+1 and back, with the migration job"""
    orchestrator = stage.orchestrator
    was = orchestrator.version
    for version in ("1.1.0", was):
        orchestrator.version = version
        await orchestrator.migrate()
        await asyncio.gather(stage.replace_all(INVENTORY), stage.replace_all(GATEWAY))
        async with RestClient(orchestrator, EDGE) as client:
            await send(client, stage.book, stage.command(0, "version"))
            if not stage.brief and client.versions != {version}:
                stage.faults.append(f"after the rollout of {version}, {client.versions} answered")


async def queued(stage):
    """SIGTERM with 200 calls queued, at an inventory and at a gateway"""
    await asyncio.gather(_queued_at_inventory(stage), _queued_at_gateway(stage))


async def _queued_at_inventory(stage):
    victim = await stage.orchestrator.add(INVENTORY)
    clients = [GrpcClient(victim.target) for _ in range(4)]
    await asyncio.gather(*(send(client, stage.book, stage.command(n, "warm")) for n, client in enumerate(clients)))
    await _end_with_queue(stage, victim, clients)


async def _queued_at_gateway(stage):
    victim = await stage.orchestrator.add(GATEWAY)
    clients = [RestClient(stage.orchestrator, GATEWAY, address=victim.address)]
    await asyncio.gather(
        *(send(clients[0], stage.book, stage.command(n, "warm-rest")) for n in range(QUEUED_CALLS // 4))
    )
    await _end_with_queue(stage, victim, clients)


async def _end_with_queue(stage, victim, clients):
    """Freeze the victim, so that the calls and the signal are all waiting when it continues."""
    try:
        victim.send(signal.SIGSTOP)
        calls = [
            asyncio.create_task(send(clients[n % len(clients)], stage.book, stage.command(n, f"queued-{victim.name}")))
            for n in range(QUEUED_CALLS)
        ]
        # Time to send them: all share this event loop.
        await asyncio.sleep(0.4)
        victim.terminate()
        victim.send(signal.SIGCONT)
        await asyncio.gather(*calls)
    finally:
        for client in clients:
            await client.close()
    await stage.orchestrator.gone(victim)


async def half_a_body(stage):
    """SIGTERM in the middle of a body, at a gateway and at the edge"""
    await asyncio.gather(*(_half_a_body(stage, name) for name in (GATEWAY, EDGE)))


async def _half_a_body(stage, name):
    victim, rest = await stage.orchestrator.add(name), asyncio.Event()
    async with RestClient(stage.orchestrator, name, address=victim.address) as client:
        sending = [
            asyncio.create_task(
                send(client, stage.book, stage.command(n, f"half-{name}"), options={"body": halted(rest)})
            )
            for n in range(5)
        ]
        await asyncio.sleep(0.5)
        victim.terminate()
        # Longer than a drain that does not wait for requests, shorter than the timeout of a body.
        await asyncio.sleep(4.0)
        rest.set()
        await asyncio.gather(*sending)
    await stage.orchestrator.gone(victim)


async def fresh_connections(stage):
    """fresh connections to what drains"""
    victims = await asyncio.gather(*(stage.orchestrator.add(name) for name in (INVENTORY, GATEWAY, EDGE)))
    for victim in victims:
        victim.terminate()
    await asyncio.gather(*(_connect_afresh(stage, victim) for victim in victims))
    await asyncio.gather(*map(stage.orchestrator.gone, victims))


async def _connect_afresh(stage, victim):
    for number in range(20):
        is_grpc = victim.kind.name == INVENTORY
        rest = partial(RestClient, stage.orchestrator, victim.kind.name, address=victim.address)
        async with GrpcClient(victim.target) if is_grpc else rest() as client:
            await send(client, stage.book, stage.command(number, f"fresh-{victim.name}"))
        await asyncio.sleep(0.1)


async def second_signal(stage):
    """second SIGTERM: hurries what would drain for a minute more"""
    victims = await asyncio.gather(
        *(stage.orchestrator.add(name, **_LONG_DRAIN) for name in (INVENTORY, GATEWAY, EDGE))
    )
    for victim in victims:
        victim.must_be_quiet = False
        victim.terminate()
    await asyncio.sleep(LAG_SECONDS + _NOTICED_SECONDS + 1)
    for victim in victims:
        victim.terminate()
    for victim in victims:
        if not await victim.ended(_HURRY_SECONDS):
            stage.faults.append(f"{victim.name} was not hurried by a second SIGTERM")
    await asyncio.gather(*map(stage.orchestrator.gone, victims))


async def dying_hook(stage):
    """a hook that dies half-way: the orchestrator's, and one of ours"""
    orchestrator = stage.orchestrator
    gateway, inventory = await asyncio.gather(
        orchestrator.add(GATEWAY), orchestrator.add(INVENTORY, fault="dying-hook")
    )
    hook = await asyncio.create_subprocess_exec("sleep", "30")
    await asyncio.sleep(0.5)
    hook.kill()
    await hook.wait()
    inventory.expected_exit_code = 1
    await asyncio.gather(orchestrator.remove(gateway), orchestrator.remove(inventory))
    if not inventory.said("step_stop_failed", step="redis"):
        stage.faults.append(f"{inventory.name} did not say that a part of it could not be stopped")
    if not inventory.said("step_stopped", step="database") or not inventory.said("step_stopped", step="metrics"):
        stage.faults.append(f"{inventory.name} left out steps after the one that failed")


async def database_first(stage):
    """the database fails first, and recovers: no replica is killed for that"""
    orchestrator = stage.orchestrator
    await asyncio.to_thread(stage.postgres.stop)
    await asyncio.sleep(1)
    leaving = orchestrator.serving(INVENTORY)[0], orchestrator.serving(GATEWAY)[0]
    coming = await asyncio.gather(orchestrator.add(INVENTORY, wait=False), orchestrator.add(GATEWAY, wait=False))
    await asyncio.gather(asyncio.sleep(_OUTAGE_SECONDS), *map(orchestrator.remove, leaving))
    stage.postgres.spawn()
    await asyncio.to_thread(stage.postgres.wait_until_ready)
    await orchestrator.until_ready(*coming)
    await stage.expect("all are ready again", lambda: _all_ready(orchestrator), 20)
    await asyncio.sleep(_DISCOVERY_SECONDS)


def _all_ready(orchestrator):
    return all(replica.ready for name in (INVENTORY, GATEWAY) for replica in orchestrator.serving(name))


async def scale(stage):
    """scale from 2 to 4 and back: the new get traffic within a connection's age"""
    orchestrator = stage.orchestrator
    before = {name: len(orchestrator.serving(name)) for name in (INVENTORY, GATEWAY)}
    await asyncio.gather(orchestrator.scale(INVENTORY, 2), orchestrator.scale(GATEWAY, 2))
    new = [*await orchestrator.scale(INVENTORY, 4), *await orchestrator.scale(GATEWAY, 4)]
    # A tenth of the age is gRPC's jitter; names are asked for again after 2 s, and metrics read four times a second.
    patience = CONNECTION_AGE_SECONDS * 1.1 + 5
    await asyncio.gather(
        # Only then do all clients know the new replicas and no longer use the old ones.
        asyncio.sleep(patience),
        *(stage.expect(f"{each.name} gets traffic", lambda each=each: _traffic(each) > 0, patience) for each in new),
    )
    await asyncio.gather(*(orchestrator.scale(name, 2) for name in before))
    await asyncio.gather(*(orchestrator.scale(name, count) for name, count in before.items()))


def _traffic(replica):
    """Return the requests to a gateway, or the creates to an inventory from the edge or from a gRPC client.

    Gateways send only requests of the drill's one sale, and all of those go to one replica.
    """
    if replica.kind.name == GATEWAY:
        return total(replica.metrics, "http_requests_total", 'method="POST"')
    return total(replica.metrics, "grpc_server_started_total", 'grpc_method="CreateReservation"')


async def blue_green(stage):
    """as many new, then all of the old at once, as ECS does by default"""
    orchestrator = stage.orchestrator
    names = INVENTORY, GATEWAY
    old = [replica for name in names for replica in orchestrator.serving(name)]
    await asyncio.gather(*(orchestrator.add(replica.kind.name) for replica in old))
    # As minReadySeconds does. Gateways look for new inventories only when they lose the old ones.
    await asyncio.sleep(_DISCOVERY_SECONDS)
    await asyncio.gather(*map(orchestrator.remove, old))


async def readiness_lag(stage):
    """30 s until the address of a stopping replica is removed"""
    orchestrator = stage.orchestrator
    leaving = await asyncio.gather(*(orchestrator.add(name, **_LAG_DRAIN) for name in (INVENTORY, GATEWAY, EDGE)))
    await asyncio.sleep(_DISCOVERY_SECONDS)
    for replica in leaving:
        replica.lag_seconds = _LAG_SECONDS
    await asyncio.gather(*map(orchestrator.remove, leaving))


async def all_at_once(stage):
    """an inventory, a gateway and the edge at the same time"""
    await asyncio.gather(*(stage.orchestrator.replace(name) for name in (INVENTORY, GATEWAY, EDGE)))


ALL = {
    scenario.__name__.replace("_", "-"): scenario
    for scenario in (
        inventories,
        gateways,
        edge,
        next_version,
        queued,
        half_a_body,
        fresh_connections,
        second_signal,
        dying_hook,
        database_first,
        scale,
        blue_green,
        readiness_lag,
        all_at_once,
    )
}
