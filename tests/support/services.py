"""Both services as they are deployed: processes that get signals and log to stdout."""

import os

from lab.kit import service as kit
from lab.kit.service import STOP_SECONDS

__all__ = ["NO_DRAIN", "STOP_SECONDS", "Cluster", "Gateway", "Inventory", "Service"]

TRANSPORT = os.environ.get("TEST_TRANSPORT") or "grpc_aio"
"""The default transport of tests; `make test TEST_TRANSPORT=envoy` uses the other."""
OTHER_TRANSPORT = "grpc_aio" if TRANSPORT == "envoy" else "envoy"
NO_DRAIN = {"drain_quiet_seconds": 0, "drain_min_seconds": 0}
"""For processes whose drain is not tested."""
_DEFAULTS = {
    # Every call is logged: otherwise the line that a test waits for could be left out under load.
    "log_slow_seconds": 0,
    **dict.fromkeys(("grpc_host", "http_host", "metrics_host"), "127.0.0.1"),
    **dict.fromkeys(("grpc_port", "metrics_port", "http_port", "gateway_metrics_port"), 0),
}


class Service(kit.Service):
    """A service on free ports of the loopback interface, with settings by their names."""

    def __init__(self, module, **settings):
        super().__init__(module, kit.variables(_DEFAULTS | settings))

    def wait_until_serving(self):
        self.wait_for("serving")
        return self

    async def is_serving(self):
        await self.says("serving")
        return self

    @property
    def metrics_url(self):
        return f"http://{self.wait_for('metrics listening')['address']}/metrics"

    @property
    def metrics_port(self):
        """As in a variable of the environment."""
        return self.wait_for("metrics listening")["address"].rpartition(":")[2]


class Inventory(Service):
    def __init__(self, database_url, redis_url=None, **settings):
        urls = {"database_url": database_url} | ({"redis_url": redis_url} if redis_url else {})
        super().__init__("holdfast_inventory", **urls, **({"transport": TRANSPORT} | settings))

    @property
    def address(self):
        """The address of gRPC."""
        return self.wait_for("listening")["address"]


class Gateway(Service):
    def __init__(self, addresses, **settings):
        super().__init__("holdfast_gateway", inventory_target="ipv4:" + ",".join(addresses), **settings)

    @property
    def url(self):
        """The URL of REST."""
        return self.wait_for("listening")["address"]


class Cluster:
    """Replicas of the inventory on one database and one Valkey, and a gateway in front of them."""

    def __init__(self, started, database_url, redis_url, replicas):
        """All processes end with the exit stack `started`."""
        self._started = started
        self.database_url, self.redis_url = database_url, redis_url
        # All at once, so that one of them migrates; with both transports, so that tests cannot depend on one.
        transports = [*[TRANSPORT] * (replicas - 1), OTHER_TRANSPORT]
        self.inventories = [self.add_inventory(migrate_on_start=True, transport=each) for each in transports]
        self.addresses = [inventory.wait_until_serving().address for inventory in self.inventories]
        self.gateway = started.enter_context(Gateway(self.addresses, **NO_DRAIN)).wait_until_serving()

    @property
    def url(self):
        return self.gateway.url

    def add_inventory(self, **settings):
        """Start another replica, which need not serve yet."""
        impatient = {"watch_heartbeat_seconds": 1}
        settings = NO_DRAIN | impatient | settings
        return self._started.enter_context(Inventory(self.database_url, self.redis_url, **settings))
