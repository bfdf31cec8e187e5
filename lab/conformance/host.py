"""`python -m lab.conformance.host SERVICE TRANSPORT`: serves a suite's service by a transport, until SIGTERM.

It takes its limits as a size-delimited ServerCompatRequest on stdin and tells its address the same way on stdout, as
connectconformance wants it.
"""

import asyncio
import os
import sys
from dataclasses import replace
from importlib import import_module

from holdfast_chassis import logs
from holdfast_chassis.lifecycle import Lifecycle, Step
from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.transports import grpc_aio
from holdfast_inventory.transports.envoy import Embedded
from holdfast_inventory.transports.envoy_process import become_envoy
from lab.conformance.connect_service import messages

_STDOUT = 1
_SIZE_BYTES = 4
_GRACE_SECONDS = 2.0
_SERVICE_VARIABLE, _LIMIT_VARIABLE = "CONFORMANCE_SERVICE", "CONFORMANCE_LIMIT_BYTES"
LIMITS = ServerLimits(
    host="127.0.0.1",
    port=0,
    max_request_bytes=4 * 1024 * 1024,
    max_connection_age_seconds=600.0,
    max_connection_age_grace_seconds=600.0,
    max_streams_per_connection=100,
    max_connections=1000,
)


def main():
    service, transport = sys.argv[1:]
    size = int.from_bytes(sys.stdin.buffer.read(_SIZE_BYTES))
    request = messages.ServerCompatRequest.FromString(sys.stdin.buffer.read(size))
    variables = {
        _SERVICE_VARIABLE: service,
        _LIMIT_VARIABLE: str(request.message_receive_limit or LIMITS.max_request_bytes),
    }
    os.environ |= variables
    if transport == "envoy":
        become_envoy(_limits(), "lab.conformance.host:application", variables)
    sys.exit(asyncio.run(_serve()))


async def _serve():
    return await _new_service(grpc_aio.Server).run()


def _new_service(new_server):
    logs.configure("conformance", "lab", "error", "json")
    endpoints = import_module(f"lab.conformance.{os.environ[_SERVICE_VARIABLE]}_service").endpoints()
    server = new_server(_limits(), endpoints)

    async def start():
        await server.start()
        host, _, port = server.address.rpartition(":")
        answer = messages.ServerCompatResponse(host=host, port=int(port)).SerializeToString()
        os.write(_STDOUT, len(answer).to_bytes(_SIZE_BYTES) + answer)

    async def stop():
        await server.stop(_GRACE_SECONDS)

    return Lifecycle([Step("server", start, stop, 2 * _GRACE_SECONDS, 2 * _GRACE_SECONDS)])


def _limits():
    return replace(LIMITS, max_request_bytes=int(os.environ[_LIMIT_VARIABLE]))


application = Embedded(_new_service)

if __name__ == "__main__":
    main()
