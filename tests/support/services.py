"""Both services as they are deployed: processes that get signals and say on stdout what they do."""

import os

from holdfast_inventory.settings import InventorySettings
from lab.kit import service as kit
from lab.kit.service import STOP_SECONDS

__all__ = ["NO_DRAIN", "STOP_SECONDS", "Cluster", "Gateway", "Inventory", "Service"]

TRANSPORT = os.environ.get("TEST_TRANSPORT") or InventorySettings.model_fields["transport"].default
"""What serves gRPC unless a test has it otherwise: `make test TEST_TRANSPORT=envoy`."""
OTHER_TRANSPORT = "grpc_aio" if TRANSPORT == "envoy" else "envoy"
NO_DRAIN = {"drain_quiet_seconds": 0, "drain_min_seconds": 0}
"""For processes whose end is not what is tested."""
_DEFAULTS = {
    # Every call is logged: in a rush the line that a test looks for would be left out.
    "log_slow_seconds": 0,
    **dict.fromkeys(("grpc_host", "http_host", "metrics_host"), "127.0.0.1"),
    **dict.fromkeys(("grpc_port", "metrics_port", "http_port", "gateway_metrics_port"), 0),
}


class Service(kit.Service):
    """On free ports of the loopback interface; settings by their names."""

    def __init__(self, module, **settings):
        super().__init__(module, kit.variables(_DEFAULTS | settings))

    def wait_until_serving(self):
        self.wait_for("serving")
        return self

    async def is_serving(self):
        await self.says("serving")
        return self


class Inventory(Service):
    def __init__(self, database_url, redis_url=None, **settings):
        urls = {"database_url": database_url} | ({"redis_url": redis_url} if redis_url else {})
        super().__init__("holdfast_inventory", **urls, **({"transport": TRANSPORT} | settings))

    @property
    def address(self):
        """Where gRPC is served."""
        return self.wait_for("listening")["address"]

    @property
    def metrics_url(self):
        return f"http://{self.wait_for('metrics listening')['address']}/metrics"


class Gateway(Service):
    def __init__(self, addresses, **settings):
        super().__init__("holdfast_gateway", inventory_target="ipv4:" + ",".join(addresses), **settings)

    @property
    def url(self):
        """Where REST is served."""
        return self.wait_for("listening")["address"]


class Cluster:
    """Replicas of the inventory on one database and one Valkey, and a gateway before them."""

    def __init__(self, started, database_url, redis_url, replicas):
        """What is started ends with the exit stack `started`."""
        self._started = started
        self.database_url, self.redis_url = database_url, redis_url
        # All at once: one of them migrates. Both transports, so that clients must not depend on either.
        transports = [*[TRANSPORT] * (replicas - 1), OTHER_TRANSPORT]
        self.inventories = [self.add_inventory(migrate_on_start=True, transport=each) for each in transports]
        self.addresses = [inventory.wait_until_serving().address for inventory in self.inventories]
        self.gateway = started.enter_context(Gateway(self.addresses, **NO_DRAIN)).wait_until_serving()

    @property
    def url(self):
        return self.gateway.url

    def add_inventory(self, **settings):
        """Another replica, which need not serve yet."""
        impatient = {"watch_heartbeat_seconds": 1}
        settings = NO_DRAIN | impatient | settings
        return self._started.enter_context(Inventory(self.database_url, self.redis_url, **settings))
