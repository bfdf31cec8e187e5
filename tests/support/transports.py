"""Transports, serving on a free port of this machine."""

import json
from contextlib import asynccontextmanager
from dataclasses import asdict, replace

from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.transports import grpc_aio
from lab.kit.service import Service

LIMITS = ServerLimits(
    host="127.0.0.1",
    port=0,
    max_request_bytes=1024 * 1024,
    max_connection_age_seconds=600.0,
    max_connection_age_grace_seconds=600.0,
    max_streams_per_connection=1000,
    max_connections=100,
)


class Envoy:
    """A process that has become Envoy, with endpoints like those of `tests.support.endpoints.Behaviour`."""

    def __init__(self, limits, _):
        self._limits = limits
        self._service = None
        self.address = ""

    @property
    def pid(self):
        return self._service.pid

    async def start(self):
        self._service = Service("tests.support.envoy_endpoints", {"TEST_LIMITS": json.dumps(asdict(self._limits))})
        try:
            self.address = (await self._service.says("listening"))["address"]
        except AssertionError as ended:
            self._service.kill()
            raise OSError(self._service.output) from ended

    async def stop(self, grace_seconds):
        if grace_seconds:
            self._service.terminate()
            assert await self._service.exit_code() == 0, self._service.output
        self._service.kill()


@asynccontextmanager
async def served(endpoints, server_class=grpc_aio.Server, **limits):
    """Serve them by a transport; gives its address."""
    server = server_class(replace(LIMITS, **limits), endpoints)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop(0.0)
