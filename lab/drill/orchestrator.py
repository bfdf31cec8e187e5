"""What Kubernetes and other orchestrators do: start replicas, publish those that are ready, and stop them in time.

`LAG_SECONDS`, or a replica's own `lag_seconds`, is the delay between SIGTERM and the removal of its address.
"""

import asyncio
import itertools
import time

from holdfast_devstack.ports import free_port
from lab.drill.name_server import Addresses, NameServer
from lab.drill.replica import Kind, Replica
from lab.kit import webhook_follower
from lab.kit.service import migrate

READY_SECONDS = 60.0
_PROBE_EVERY_SECONDS = 0.5
_LIVENESS_FAILURES = 4
_ENOUGH_TO_DIE_SECONDS = 5.0

# The sum of the drain (20 s at most until it is quiet), requests in progress (10 s; 6 s at the edge, because it cuts
# watches off) and 15 s for the other steps. deploy/, k8s/ and compose/ allow for the longest requests as well.
INVENTORY, GATEWAY, EDGE = "inventory", "gateway", "edge"
_BUDGETS = {INVENTORY: 45.0, GATEWAY: 45.0, EDGE: 41.0}
CONNECTION_AGE_SECONDS = 8.0
LAG_SECONDS = 1.5
_COMMON = {
    "HOLDFAST_LOG_FORMAT": "json",
    "HOLDFAST_CONNECTION_AGE_SECONDS": CONNECTION_AGE_SECONDS,
    "HOLDFAST_CONNECTION_AGE_GRACE_SECONDS": 15,
    # A watch ends by itself before its connection does, and lasts at least two heartbeats.
    "HOLDFAST_WATCH_HEARTBEAT_SECONDS": 2,
    "HOLDFAST_WATCH_READER_SECONDS": 6,
    "HOLDFAST_EDGE_FINISH_SECONDS": 6,
    "HOLDFAST_EDGE_THREADS": 1,
}


class Orchestrator:
    """Call `start` first and `close` last. `close` leaves nothing behind."""

    def __init__(self, directory, database_url, redis_url, fault=None):
        self.kinds = {
            INVENTORY: _kind(INVENTORY, "metrics"),
            GATEWAY: _kind(GATEWAY, "metrics"),
            EDGE: _kind(EDGE, "envoy"),
        }
        self.replicas = []
        self.version = "1.0.0"
        self.names = None
        self._directory, self._fault = directory, fault
        self._urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self._addresses = Addresses()
        self._published = {name: [] for name in self.kinds}
        self._turns = {name: itertools.count() for name in self.kinds}
        self._probes = {}
        self._counts = dict.fromkeys(self.kinds, 0)

    async def start(self):
        self.names = await NameServer.start()
        self.names.records = {name: [] for name in self.kinds}

    async def close(self):
        for probe in self._probes.values():
            probe.cancel()
        await asyncio.gather(*self._probes.values(), return_exceptions=True)
        await asyncio.gather(*(replica.close() for replica in self.replicas))
        self.names.stop()

    def target(self, name):
        """Return the target of a gRPC client."""
        return self.names.target(name, self.kinds[name].port)

    def next_published(self, name):
        """Return the address for a new connection to that name, or None. It is round robin, as in a load balancer, so
        that each replica certainly gets its share of the connections.
        """
        addresses = self._published[name]
        return addresses[next(self._turns[name]) % len(addresses)] if addresses else None

    def serving(self, name):
        """Return the replicas that should serve, the oldest first."""
        return [each for each in self.replicas if each.kind.name == name and each.is_running and not each.terminated_at]

    # Starting and stopping replicas

    async def add(self, name, *, wait=True, fault=None, **environment):
        """Start one more replica, and wait until it is ready unless told otherwise."""
        self._counts[name] += 1
        kind = self.kinds[name]
        label = f"{name}-{self._counts[name]}"
        address = self._addresses.take()
        replica = Replica(
            kind,
            label,
            address,
            self.version,
            self._variables(kind, address, fault or self._fault, environment),
            self._directory / f"{label}.log",
        )
        self.replicas.append(replica)
        await replica.start()
        self._probes[replica] = asyncio.create_task(self._probe(replica))
        if wait:
            await self.until_ready(replica)
        return replica

    async def until_ready(self, *replicas):
        async with asyncio.timeout(READY_SECONDS):
            while not all(replica.ready for replica in replicas):
                if dead := [replica.name for replica in replicas if not replica.is_running]:
                    raise RuntimeError(f"{', '.join(dead)} ended while starting")
                await asyncio.sleep(0.05)
        self._publish()

    async def remove(self, replica):
        """Send SIGTERM, and wait for its end. Its address is removed a little later."""
        replica.terminate()
        await self.gone(replica)

    async def gone(self, replica):
        """Wait for the end of a replica that is stopping; kill it when its time is up."""
        budget = replica.kind.budget_seconds
        if not await replica.ended(max(0.0, replica.terminated_at + budget - time.monotonic())):
            replica.kill(f"it took more than {budget:g} s")
            await replica.ended(_ENOUGH_TO_DIE_SECONDS)

    async def replace(self, name, **environment):
        """Start a new replica, then stop the oldest: there is one more than needed, never one less."""
        oldest = self.serving(name)[0]
        await self.add(name, **environment)
        await self.remove(oldest)

    async def roll(self, name, replicas=None):
        """Replace all, one after the other."""
        for _ in range(replicas or len(self.serving(name))):
            await self.replace(name)

    async def scale(self, name, replicas):
        """Start or stop replicas, all at once. Return the new ones."""
        serving = self.serving(name)
        surplus = serving[: max(0, len(serving) - replicas)]
        new = await asyncio.gather(*(self.add(name) for _ in range(replicas - len(serving))))
        await asyncio.gather(*map(self.remove, surplus))
        return new

    async def migrate(self):
        """Run the migration job of a release, and return its output."""
        return await asyncio.to_thread(migrate, self._urls | {"HOLDFAST_VERSION": self.version})

    # Probes

    async def _probe(self, replica):
        """Probe a replica: readiness decides whether it is published, liveness whether it is killed."""
        failures = 0
        while replica.is_running:
            if replica.is_running and await replica.is_ready():
                if replica.terminated_at is None:
                    replica.be_ready()
            elif replica.terminated_at is None:
                replica.ready = False
            self._publish()
            failures = 0 if await replica.is_alive() or not replica.phases[1:] else failures + 1
            if failures >= _LIVENESS_FAILURES and replica.terminated_at is None:
                replica.kill("its liveness probe failed")
            await asyncio.sleep(_PROBE_EVERY_SECONDS)
        self._publish()

    def _publish(self):
        now = time.monotonic()
        for name in self.kinds:
            self._published[name] = [
                replica.address
                for replica in self.replicas
                if replica.kind.name == name and replica.ready and self._is_known(replica, now)
            ]
        self.names.records = dict(self._published)

    def _is_known(self, replica, now):
        if replica.terminated_at is None:
            return replica.is_running
        return now < replica.terminated_at + (replica.lag_seconds or LAG_SECONDS)

    def _variables(self, kind, address, fault, more):
        inventory, gateway, edge = (self.kinds[name] for name in (INVENTORY, GATEWAY, EDGE))
        of_kind = {
            INVENTORY: {
                **self._urls,
                **webhook_follower.SETTINGS,
                "HOLDFAST_GRPC_HOST": address,
                "HOLDFAST_GRPC_PORT": inventory.port,
                "HOLDFAST_METRICS_HOST": address,
                "HOLDFAST_METRICS_PORT": inventory.metrics_port,
            },
            GATEWAY: {
                "HOLDFAST_HTTP_HOST": address,
                "HOLDFAST_HTTP_PORT": gateway.port,
                "HOLDFAST_METRICS_HOST": address,
                "HOLDFAST_GATEWAY_METRICS_PORT": gateway.metrics_port,
                "HOLDFAST_INVENTORY_TARGET": self.target(INVENTORY),
            },
            EDGE: {
                "HOLDFAST_EDGE_HOST": address,
                "HOLDFAST_EDGE_HTTP_PORT": edge.port,
                "HOLDFAST_EDGE_METRICS_HOST": address,
                "HOLDFAST_EDGE_METRICS_PORT": edge.metrics_port,
                "HOLDFAST_EDGE_SHOPPERS_PORT": free_port(),
                "HOLDFAST_EDGE_ADMIN_PORT": free_port(),
                "HOLDFAST_EDGE_GATEWAYS": self.names.target(GATEWAY, gateway.port).rpartition("/")[2],
                "HOLDFAST_EDGE_INVENTORIES": self.names.target(INVENTORY, inventory.port).rpartition("/")[2],
            },
        }
        ours = {
            "HOLDFAST_VERSION": self.version,
            "DRILL_NAME_SERVER_PORT": self.names.port,
            **({"DRILL_FAULT": fault} if fault else {}),
        }
        return _COMMON | of_kind[kind.name] | ours | more


def _kind(name, last_step):
    return Kind(name, f"holdfast_{name}", free_port(), free_port(), _BUDGETS[name], last_step)
