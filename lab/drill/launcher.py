"""`python -m lab.drill.launcher MODULE ...` runs `python -m MODULE ...` with the drill's changes.

The edge asks the drill's name server; elsewhere /etc/resolv.conf names the server. DRILL_FAULT may name a planted
fault, which verifies that the drill finds it. Faults are patched into the running program; the product does not
contain them.
"""

# ruff: noqa: PLC0415 - only what the launched service itself imports

import json
import os

from lab.kit.launcher import launch


def prepare(module):
    if module == "holdfast_edge":
        _ask_our_name_server(os.environ["DRILL_NAME_SERVER_PORT"])
    if fault := os.environ.get("DRILL_FAULT"):
        FAULTS[fault](module)


def _ask_our_name_server(port):
    from holdfast_edge import configuration

    render = configuration.render
    configuration.render = lambda *arguments: json.dumps(json.loads(render(*arguments)) | _name_server(port))


def _name_server(port):
    """Return Envoy's setting for its name server."""
    kind = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": int(port)}}
    settings = {"@type": f"type.googleapis.com/{kind}", "resolvers": [address]}
    return {"typed_dns_resolver_config": {"name": "envoy.network.dns_resolver.cares", "typed_config": settings}}


def _no_quiet_wait(module):
    """Stop at once on SIGTERM, as most servers do."""
    from holdfast_chassis.drain import Arrivals

    async def at_once(self, *_):
        return True

    Arrivals.wait_until_quiet = at_once
    if module == "holdfast_gateway":
        from holdfast_gateway.http_server import HttpServer

        async def go_on(self):
            pass

        HttpServer.stop_accepting = go_on


def _liveness_on_database(module):
    """Let the liveness of an inventory depend on its database."""
    if module != "holdfast_inventory":
        return
    from holdfast_inventory.transports import health

    tell = health.Health.set

    def tied(self, states):
        told = dict(states)
        if "database" in told:
            told[health.LIVENESS] = told["database"]
        elif health.LIVENESS in self.states:
            told.pop(health.LIVENESS, None)
        tell(self, told)

    health.Health.set = tied


def _no_connection_close(module):
    """Let a draining gateway keep its clients' connections."""
    if module == "holdfast_gateway":
        from holdfast_gateway.gateway import Gateway

        Gateway.begin_draining = lambda self: None


def _dying_hook(module):
    """Let a part fail while it is being stopped."""
    if module == "holdfast_inventory":
        from holdfast_inventory.watches.fanout import StockFanout

        stop = StockFanout.stop

        async def die_half_way(self):
            await stop(self)
            raise RuntimeError("planted: the hook has died")

        StockFanout.stop = die_half_way


def _webhooks_never_fail(module):
    """Let a webhook's message count as delivered, whatever its receiver answers."""
    if module == "holdfast_inventory":
        from holdfast_inventory.background import webhook_client
        from holdfast_inventory.background.webhooks import Answer

        webhook_client._answer = lambda *_: Answer()


FAULTS = {
    "no-quiet-wait": _no_quiet_wait,
    "liveness-on-database": _liveness_on_database,
    "no-connection-close": _no_connection_close,
    "dying-hook": _dying_hook,
    "webhooks-never-fail": _webhooks_never_fail,
}

if __name__ == "__main__":
    launch(prepare)
