"""grpc.health.v1, our own: the stock servicer serves before it is told to, lets a stalled watcher block everybody,
flips liveness too when a drain begins, keeps its watches through the whole grace, and has no List.
"""

import asyncio
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

Context = grpc.aio.ServicerContext[Any, Any]

LIVENESS = "liveness"
"""The name that stays SERVING while the process drains: it lives, so nobody must kill it."""

_MAX_WATCHES = 200
_WRITE_SECONDS = 10.0
_UNKNOWN = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


class Serving(Enum):
    """Whether something serves, by its number in the protos."""

    SERVING = 1
    NOT_SERVING = 2


_RESPONSES = {
    serving: health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.ServingStatus.Value(serving.name))
    for serving in Serving
}


class Health:
    """Whether the service and what it depends on serve, by name.

    Watchers are told the latest state; one that has passed before a slow watcher read it is not told.
    """

    def __init__(self) -> None:
        self._states: dict[str, Serving] = {}
        self._watches = 0
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def states(self) -> Mapping[str, Serving]:
        """All names and their states."""
        return MappingProxyType(self._states)

    def set(self, states: Mapping[str, Serving]) -> None:
        """Change some states. No watcher, however slow, can hold this up."""
        if any(self._states.get(name) is not state for name, state in states.items()):
            self._states.update(states)
            self._announce()

    def end_watches(self) -> None:
        """End every watch, and admit no more."""
        self._ended = True
        self._announce()

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the service for a server."""
        request, response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(
                    self._check, request.FromString, response.SerializeToString
                ),
                "Watch": grpc.unary_stream_rpc_method_handler(
                    self._watch, request.FromString, response.SerializeToString
                ),
                "List": grpc.unary_unary_rpc_method_handler(
                    self._list,
                    health_pb2.HealthListRequest.FromString,
                    health_pb2.HealthListResponse.SerializeToString,
                ),
            },
        )

    async def _check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        state = self._states.get(request.service)
        if state is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return _RESPONSES[state]

    async def _list(self, _: health_pb2.HealthListRequest, __: Context) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(statuses={name: _RESPONSES[state] for name, state in self._states.items()})

    async def _watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        if self._watches >= _MAX_WATCHES:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many health watches")
        self._watches += 1
        try:
            await self._tell_changes(request.service, context)
        except TimeoutError:
            await context.abort(grpc.StatusCode.ABORTED, "the reader is too slow")
        finally:
            self._watches -= 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "this replica is shutting down")

    async def _tell_changes(self, name: str, context: Context) -> None:
        told = None
        while not self._ended:
            changed = self._changed
            response = _UNKNOWN if (state := self._states.get(name)) is None else _RESPONSES[state]
            if response is not told:
                async with asyncio.timeout(_WRITE_SECONDS):
                    await context.write(response)
                told = response
            await changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
