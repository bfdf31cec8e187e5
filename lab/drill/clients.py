"""The clients of the drill: over REST and gRPC, through the edge and directly, and slow or broken ones.

A command is sent once; retries are the caller's. The result is the reservation's name; everything else is raised as
`Refused` or `Lost`.
"""

import asyncio
import json
import socket
from typing import NamedTuple

import aiohttp
import grpc
from aiohttp.abc import AbstractResolver

from holdfast.inventory.v1 import reservation_service_pb2 as rs
from lab.drill.name_server import DOMAIN
from lab.kit import grpc_client, rest_client
from lab.kit.refusals import reason_of

REQUEST_SECONDS = 12.0
ITEM = "sneaker"
_RETRYABLE = {
    "DATABASE_UNAVAILABLE",
    "OUTCOME_UNKNOWN",
    "INVENTORY_UNAVAILABLE",
    "OVERLOADED",
    "DEADLINE_IN_QUEUE",
    "DRAINING",
}
# gRPC's messages if no healthy server was found for the name, so that nothing was sent.
_NO_ADDRESS = ("empty address list", "connections to all backends failing", "DNS resolution failed")


class Command(NamedTuple):
    """One command: hold, buy, confirm or release. `id` is also the customer."""

    operation: str
    id: str
    sale: str
    reservation: str = ""


class Refused(Exception):
    """A refusal that says that a retry may help."""


class Lost(Exception):
    """No answer, or an unexpected one."""


class RestClient(rest_client.RestClient):
    """A REST client with keep-alive. Each new connection goes to a replica that is published at that time."""

    def __init__(self, orchestrator, name, *, keep_alive=True, address=None):
        connector = aiohttp.TCPConnector(
            limit=0,
            resolver=_Published(orchestrator, name, address),
            use_dns_cache=False,
            force_close=not keep_alive,
            happy_eyeballs_delay=None,
        )
        super().__init__(f"http://{name}.{DOMAIN}:{orchestrator.kinds[name].port}", connector=connector)
        self.versions = set()

    async def shop(self, command, body=None):
        """Send a command and return the reservation's name. `body` may be a generator that sends the body slowly."""
        path, content, headers = _rest_request(command)
        sent = {"json": content} if body is None else {"data": body(content)}
        headers["Content-Type"] = "application/json"
        try:
            answer = await self.send("POST", path, REQUEST_SECONDS, headers=headers, **sent)
        except rest_client.NO_ANSWER as error:
            if isinstance(error, NoAddress) or isinstance(error.__cause__, NoAddress):
                raise Refused("NO_ADDRESS") from error
            raise Lost(f"{type(error).__name__}: {error}") from error
        self.versions.add(answer.headers.get("X-Deployment-Version"))
        if answer.status == 200:
            return answer.body["name"]
        if answer.reason in _RETRYABLE:
            raise Refused(answer.reason)
        raise Lost(f"{answer.status} {answer.body}")


class NoAddress(OSError):
    """No replica is published under that name."""


class _Published(AbstractResolver):
    def __init__(self, orchestrator, name, address):
        self._orchestrator, self._name, self._address = orchestrator, name, address

    async def resolve(self, host, port=0, family=socket.AF_INET):
        address = self._address or self._orchestrator.next_published(self._name)
        if address is None:
            raise NoAddress(f"no replica is published as {self._name}")
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self):
        pass


def _rest_request(command):
    if command.reservation:
        body = {"order": command.id} if command.operation == "confirm" else {}
        return f"/v1/{command.reservation}:{command.operation}", body, {}
    body = {"customer": command.id, "lines": [{"item": ITEM, "quantity": 1}], "confirm": command.operation == "buy"}
    return f"/v1/{command.sale}/reservations", body, {"Idempotency-Key": command.id}


class GrpcClient(grpc_client.GrpcClient):
    """A channel to a name, or to one replica. gRPC itself retries only requests that were certainly not sent."""

    def __init__(self, target, *, health_checked=False):
        health = '"healthCheckConfig": {"serviceName": "holdfast.inventory.v1.ReservationService"}, '
        config = f'{{{health if health_checked else ""}"loadBalancingConfig": [{{"round_robin": {{}}}}]}}'
        super().__init__(
            target,
            [
                ("grpc.service_config", config),
                ("grpc.service_config_disable_resolution", 1),
                ("grpc.dns_min_time_between_resolutions_ms", 500),
                ("grpc.max_reconnect_backoff_ms", 2000),
                ("grpc.min_reconnect_backoff_ms", 1000),
                ("grpc.initial_reconnect_backoff_ms", 200),
            ],
        )

    async def shop(self, command):
        """Send a command and return the reservation's name."""
        try:
            return (await self.call(_grpc_request(command), REQUEST_SECONDS)).name
        except grpc.aio.AioRpcError as error:
            reason = reason_of(error)
            if reason in _RETRYABLE:
                raise Refused(reason) from error
            if not reason and any(words in (error.details() or "") for words in _NO_ADDRESS):
                raise Refused("NO_ADDRESS") from error
            raise Lost(f"{error.code().name} {reason}: {error.details()}") from error


def _grpc_request(command):
    if command.operation == "confirm":
        return rs.ConfirmReservationRequest(name=command.reservation, order=command.id)
    if command.operation == "release":
        return rs.ReleaseReservationRequest(name=command.reservation)
    request = grpc_client.create(command.sale, command.id, command.id, **{ITEM: 1})
    request.confirm = command.operation == "buy"
    return request


def dripping(seconds):
    """Yield a body slowly, as a phone on a bad connection sends it."""

    def body(content):
        return _pieces(content, lambda: asyncio.sleep(seconds / 4))

    return body


def halted(until):
    """Yield a body whose second half is sent when the event is set."""

    def body(content):
        return _pieces(content, until.wait, count=2)

    return body


async def _pieces(content, wait, count=4):
    data = json.dumps(content).encode()
    size = -(-len(data) // count)
    for at in range(0, len(data), size):
        if at:
            await wait()
        yield data[at : at + size]
