"""The maximum time that each service takes to stop: the sum of the limits of its steps, from its settings.

Call it on an event loop, because the services are created on one.
"""

from functools import partial

from holdfast_edge.app import App as Edge
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.app import App as Gateway
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.app import App as Inventory
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.transports.grpc_aio import Server as GrpcServer

SETTINGS = {"inventory": InventorySettings, "gateway": GatewaySettings, "edge": EdgeSettings}
APPS = {"inventory": partial(Inventory, new_server=GrpcServer), "gateway": Gateway, "edge": Edge}


def stop_seconds(service, variables, monkeypatch):
    """Return the maximum time of a stop with these variables in the environment."""
    with monkeypatch.context() as patched:
        for name, value in variables.items():
            # The certificates are only in the deployment.
            if not name.endswith(("_TLS_DIR", "_PLAIN_PORT")):
                patched.setenv(name, value)
        patched.setenv("DATABASE_URL", "postgresql://nobody@localhost/nothing")
        app = APPS[service](SETTINGS[service].load(None), "test")
    return sum(step.stop_timeout_seconds for step in app.lifecycle._steps)
