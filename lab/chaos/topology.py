"""Everything that runs: services, servers, and a link between any two of them that are connected."""

import asyncio
import signal
from contextlib import suppress

from holdfast_devstack.valkey import ValkeyServer
from lab.chaos.orders import Desk
from lab.chaos.service import GATEWAY, INVENTORY, Service
from lab.chaos.standby import Databases
from lab.kit import webhook_follower
from lab.kit.link import Link

# Shorter than by default, so that a run of minutes sees many recoveries.
_INVENTORY_SETTINGS = {
    "HOLDFAST_DATABASE_READERS": 4,
    "HOLDFAST_DATABASE_ACQUIRE_SECONDS": 1,
    "HOLDFAST_DATABASE_READ_SECONDS": 2,
    "HOLDFAST_DATABASE_TRANSACTION_SECONDS": 2,
    "HOLDFAST_SWEEP_INTERVAL_SECONDS": 0.5,
    "HOLDFAST_READINESS_INTERVAL_SECONDS": 0.5,
    "HOLDFAST_WATCH_HEARTBEAT_SECONDS": 1,
    "HOLDFAST_DRAIN_QUIET_SECONDS": 0.3,
    "HOLDFAST_DRAIN_MIN_SECONDS": 0.5,
    "HOLDFAST_DRAIN_MAX_SECONDS": 3,
    "HOLDFAST_DRAIN_GRACE_SECONDS": 4,
    **webhook_follower.SETTINGS,
}
_GATEWAY_SETTINGS = {
    "HOLDFAST_REQUEST_TIMEOUT_SECONDS": 3,
    "HOLDFAST_STREAM_HEARTBEAT_SECONDS": 1,
    "HOLDFAST_DRAIN_QUIET_SECONDS": 0.3,
    "HOLDFAST_DRAIN_MIN_SECONDS": 0.5,
    "HOLDFAST_DRAIN_MAX_SECONDS": 3,
}


class Topology:
    """Call `start` first and `close` last. `close` leaves nothing behind."""

    def __init__(self, directory, logs, shape):
        self.shape = shape
        self.links = {}
        self.inventories, self.gateways = [], []
        self.desk = Desk()
        self.valkey = ValkeyServer(directory / "valkey")
        self.databases = None
        self._directory, self._logs = directory, logs

    @property
    def services(self):
        return [*self.inventories, *self.gateways]

    def service(self, name):
        return next(service for service in self.services if service.name == name)

    async def start(self):
        await self.desk.open()
        self.valkey.start()
        replication = await self._link("standby -> primary", 0)
        self.databases = Databases(
            self._directory, self.shape.database_settings, self._logs, replication, with_wal_disk=self.shape.wal_disk
        )
        await asyncio.to_thread(self.databases.prepare)
        for number in range(1, self.shape.inventories + 1):
            await self._add_inventory(number)
        await self.databases.start()
        for number in range(1, self.shape.gateways + 1):
            await self._add_gateway(number)
        for inventory in self.inventories:
            url = self.databases.url(self.links[f"{inventory.name} -> postgresql"])
            inventory.set(DATABASE_URL=url)
            await inventory.start()
        for gateway in self.gateways:
            await gateway.start()
        await self.until_ready()

    async def until_ready(self):
        await asyncio.gather(*(service.until_ready() for service in self.services))

    async def repair(self):
        """Heal all links, resume and restart all processes that were harmed, and wait until all are ready."""
        for link in self.links.values():
            link.heal()
        for service in self.services:
            service.thaw()
            await self.desk.send(service.orders_port, "disarm")
            await self.desk.send(service.orders_port, "clock", offset_seconds=0)
        self.valkey.child.send_signal(signal.SIGCONT)
        if not self.valkey.child.is_running:
            self.valkey.start()
        await self.databases.repair()
        await self.until_ready()

    async def close(self):
        """Kill everything at once: the orderly stop of services is tested before."""
        for service in self.services:
            service.close()
        for link in self.links.values():
            with suppress(Exception):
                await link.close()
        if self.databases is not None:
            await asyncio.to_thread(self.databases.close)
        with suppress(Exception):
            self.valkey.kill()
        self.desk.close()

    async def _add_inventory(self, number):
        inventory = Service(INVENTORY, number, dict(_INVENTORY_SETTINGS), self._logs, self.shape.bug)
        self.inventories.append(inventory)
        await self._link(f"client -> {inventory.name}", inventory.port)
        self.databases.service_links.append(await self._link(f"{inventory.name} -> postgresql", 0))
        valkey = await self._link(f"{inventory.name} -> valkey", self.valkey.port)
        inventory.set(
            REDIS_URL=valkey.through(self.valkey.url),
            HOLDFAST_MIGRATE_ON_START="true",
            **self.shape.inventory_settings,
        )

    async def _add_gateway(self, number):
        gateway = Service(GATEWAY, number, dict(_GATEWAY_SETTINGS), self._logs, self.shape.bug)
        self.gateways.append(gateway)
        await self._link(f"client -> {gateway.name}", gateway.port)
        links = [await self._link(f"{gateway.name} -> {each.name}", each.port) for each in self.inventories]
        gateway.set(HOLDFAST_INVENTORY_TARGET="ipv4:" + ",".join(link.address for link in links))

    async def _link(self, name, port):
        link = self.links[name] = Link(name, port)
        await link.start()
        return link
