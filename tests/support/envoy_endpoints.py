"""Envoy with the endpoints of `tests.support.endpoints` inside: `python -m tests.support.envoy_endpoints`."""

import json
import os
import sys

from holdfast_chassis import logs
from holdfast_chassis.lifecycle import Lifecycle, Step
from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.transports.envoy import Embedded
from holdfast_inventory.transports.envoy_process import become_envoy
from tests.support.endpoints import Behaviour

GRACE_SECONDS = 10.0


def _limits():
    return ServerLimits(**json.loads(os.environ["TEST_LIMITS"]))


def _new_service(new_server):
    logs.configure("endpoints", "test", "info", "json")
    server = new_server(_limits(), Behaviour().endpoints())

    async def stop():
        await server.stop(GRACE_SECONDS)

    return Lifecycle([Step("server", server.start, stop, GRACE_SECONDS, 2 * GRACE_SECONDS)])


application = Embedded(_new_service)

if __name__ == "__main__":
    sys.exit(become_envoy(_limits(), "tests.support.envoy_endpoints:application", {}))
