"""grpc.health.v1, our own: the stock servicer serves before it is told to, lets a stalled watcher block everybody,
flips liveness too when a drain begins, keeps its watches through the whole grace, and has no List.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn

import grpc
from grpc_health.v1 import health_pb2

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.api.calls import STATUS_CODES
from holdfast_inventory.api.refusals import refusal_of
from holdfast_inventory.domain.errors import (
    DomainError,
    Draining,
    NotFound,
    Overloaded,
    ReaderTooSlow,
    WatchExpired,
)
from holdfast_inventory.watches.lifetime import Lifetime

Context = grpc.aio.ServicerContext[Any, Any]

LIVENESS = "liveness"
"""The name that stays SERVING while the process drains: it lives, so nobody must kill it."""

_MAX_WATCHES = 200
_RETRY_SECONDS = (1.0, 5.0)
_UNKNOWN = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


class Serving(Enum):
    """Whether something serves, by its number in the protos."""

    SERVING = 1
    NOT_SERVING = 2


_RESPONSES = {
    serving: health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.ServingStatus.Value(serving.name))
    for serving in Serving
}


@dataclass(frozen=True, slots=True)
class HealthWatchLimits:
    """How long a watch of health lasts, how often it says again what has not changed, and how slow a reader may be.

    Silence of a minute is what many a proxy takes for the end of a stream.
    """

    lifetime: Lifetime
    heartbeat_seconds: float
    reader_seconds: float


class Health:
    """Whether the service and what it depends on serve, by name.

    Watchers are told the latest state; one that has passed before a slow watcher read it is not told.
    """

    def __init__(
        self, limits: HealthWatchLimits, clock: Clock = SYSTEM_CLOCK, entropy: Entropy = SYSTEM_ENTROPY
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._entropy = entropy
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
            await _abort(context, NotFound(f"service {request.service!r}"))
        return _RESPONSES[state]

    async def _list(self, _: health_pb2.HealthListRequest, __: Context) -> health_pb2.HealthListResponse:
        return health_pb2.HealthListResponse(statuses={name: _RESPONSES[state] for name, state in self._states.items()})

    async def _watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        if self._watches >= _MAX_WATCHES:
            await _abort(context, Overloaded(self._entropy.uniform(*_RETRY_SECONDS)))
        self._watches += 1
        try:
            end = await self._tell_changes(request.service, context)
        except TimeoutError:
            end = ReaderTooSlow()
        finally:
            self._watches -= 1
        await _abort(context, end)

    async def _tell_changes(self, name: str, context: Context) -> DomainError:
        """Returns what ends it. Raises TimeoutError for a reader that is too slow."""
        limits, monotonic = self._limits, self._clock.monotonic
        ends_at = monotonic() + limits.lifetime.drawn(self._entropy)
        while not self._ended and monotonic() < ends_at:
            state = self._states.get(name)
            async with asyncio.timeout(limits.reader_seconds):
                await context.write(_UNKNOWN if state is None else _RESPONSES[state])
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.heartbeat_seconds):
                    await self._changes_from(name, state)
        return Draining() if self._ended else WatchExpired()

    async def _changes_from(self, name: str, state: Serving | None) -> None:
        while self._states.get(name) is state and not self._ended:
            await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _abort(context: Context, error: DomainError) -> NoReturn:
    refusal = refusal_of(error)
    await context.abort(STATUS_CODES[refusal.code], refusal.message, refusal.trailers)
