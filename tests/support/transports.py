"""Endpoints, served on a free port of this machine."""

from contextlib import asynccontextmanager
from dataclasses import replace

from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.transports.grpc_aio import Server

LIMITS = ServerLimits(
    host="127.0.0.1",
    port=0,
    max_request_bytes=1024 * 1024,
    max_connection_age_seconds=600.0,
    max_connection_age_grace_seconds=600.0,
    max_streams_per_connection=1000,
    max_connections=100,
)


@asynccontextmanager
async def served(endpoints, server_class=Server, **limits):
    """Serve them by a transport; gives its address."""
    server = server_class(replace(LIMITS, **limits), endpoints)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop(0.0)
