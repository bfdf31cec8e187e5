"""Clients that send a request once, over gRPC or REST, and return its outcome: granted, refused or unknown."""

import random
from dataclasses import dataclass, field
from typing import Any

import grpc

from lab.chaos.history import Kind
from lab.chaos.messages import answer_of_json, as_dict, http_of, request_of
from lab.kit import grpc_client, rest_client
from lab.kit.refusals import reason_of

CALL_SECONDS = 4.0
GRPC, REST = "grpc", "rest"
# With these reasons the request may have been applied, or may still be. All other reasons promise that it was not.
_INDEFINITE = {"OUTCOME_UNKNOWN", "INVENTORY_UNAVAILABLE", "INTERNAL"}
_CHANNEL_OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended, as it is written to the history."""

    kind: Kind
    answer: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False
    reason: str = ""


class GrpcClient:
    """A client of inventories, each with its own channel. It chooses one at random unless one is given."""

    transport = GRPC

    def __init__(self, addresses, seed):
        self._random = random.Random(seed)
        self._clients = [grpc_client.GrpcClient(address, _CHANNEL_OPTIONS) for address in addresses]

    async def close(self):
        for client in self._clients:
            await client.close()

    async def send(self, action, fields, seconds=CALL_SECONDS):
        call = self.one().call(request_of(action, fields), seconds)
        try:
            answer = await call
            trailers = dict(await call.trailing_metadata() or ())
        except grpc.aio.AioRpcError as error:
            return _not_granted(reason_of(error), f"{error.code().name}: {error.details()}")
        return Outcome(Kind.OK, as_dict(answer), trailers.get("idempotent-replayed") == "true")

    def one(self):
        """Return the client of one replica."""
        return self._random.choice(self._clients)


class RestClient:
    """A client of gateways. It chooses one at random."""

    transport = REST

    def __init__(self, urls, seed):
        self._random = random.Random(seed)
        self._clients = [rest_client.RestClient(url, CALL_SECONDS) for url in urls]

    async def close(self):
        for client in self._clients:
            await client.close()

    async def send(self, action, fields, seconds=CALL_SECONDS):
        method, path, body, headers = http_of(action, fields)
        try:
            answer = await self.one().send(method, path, seconds, json=body, headers=headers)
        except rest_client.NO_ANSWER as error:
            return Outcome(Kind.INFO, reason=f"{type(error).__name__}: {error}")
        if answer.status == 200:
            replayed = answer.headers.get("Idempotent-Replayed") == "true"
            return Outcome(Kind.OK, answer_of_json(action, answer.body), replayed)
        return _not_granted(answer.reason, f"HTTP {answer.status}")

    def one(self):
        """Return the client of one gateway."""
        return self._random.choice(self._clients)


def _not_granted(reason, otherwise):
    """Return the outcome of a refusal; `otherwise` is its text if there is no reason."""
    if reason and reason not in _INDEFINITE:
        return Outcome(Kind.FAIL, reason=reason)
    return Outcome(Kind.INFO, reason=reason or otherwise)
