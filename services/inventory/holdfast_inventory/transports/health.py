"""An implementation of grpc.health.v1.

The servicer of the grpc library reports SERVING from the beginning, lets a stalled watcher block all others, changes
liveness as well when a drain begins, keeps its watches during the whole grace, and has no List.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from enum import Enum
from types import MappingProxyType

from grpc_health.v1 import health_pb2

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.api.call import Call
from holdfast_inventory.domain.errors import Draining, NotFound, Overloaded, WatchExpired
from holdfast_inventory.watches.lifetime import Lifetime

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]

LIVENESS = "liveness"
"""The name that stays SERVING during a drain, because the process is alive and must not be killed."""

_MAX_WATCHES = 200
_RETRY_SECONDS = (1.0, 5.0)
_UNKNOWN = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)


class Serving(Enum):
    """A health status, by its number in the protos."""

    SERVING = 1
    NOT_SERVING = 2


_RESPONSES = {
    serving: health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.ServingStatus.Value(serving.name))
    for serving in Serving
}


class Health:
    """The health statuses of the service and its dependencies, by name.

    Watchers get the latest status; a slow watcher may miss a status that has changed again.
    """

    def __init__(
        self,
        watch_lifetime: Lifetime,
        heartbeat_seconds: float,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """A watch repeats its status at the interval of a heartbeat: many proxies end a stream after a minute without
        data.
        """
        self._watch_lifetime = watch_lifetime
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._entropy = entropy
        self._states: dict[str, Serving] = {}
        self._watches = 0
        self._changed = asyncio.Event()
        self._ended = False

    @property
    def states(self) -> Mapping[str, Serving]:
        """All names and their statuses."""
        return MappingProxyType(self._states)

    def set(self, states: Mapping[str, Serving]) -> None:
        """Change some statuses. Slow watchers do not delay this."""
        if any(self._states.get(name) is not state for name, state in states.items()):
            self._states.update(states)
            self._announce()

    def end_watches(self) -> None:
        """End every watch, and admit no more."""
        self._ended = True
        self._announce()

    async def answer(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of HTTP for a path of health on the metrics port."""
        state = self._states.get("" if path == "/health/ready" else LIVENESS, Serving.NOT_SERVING)
        return (200 if state is Serving.SERVING else 503), state.name.encode()

    async def check(self, request: health_pb2.HealthCheckRequest, _: Call) -> health_pb2.HealthCheckResponse:
        """Return the status of a name. Raises NotFound."""
        state = self._states.get(request.service)
        if state is None:
            raise NotFound(f"service {request.service!r}")
        return _RESPONSES[state]

    async def list(self, _: health_pb2.HealthListRequest, __: Call) -> health_pb2.HealthListResponse:
        """Tell all."""
        return health_pb2.HealthListResponse(statuses={name: _RESPONSES[state] for name, state in self._states.items()})

    async def watch(
        self, request: health_pb2.HealthCheckRequest, _: Call
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse]:
        """Send the status of a name, each change, and the unchanged status at intervals.

        Raises Draining or WatchExpired at the end, and Overloaded if there are too many watches.
        """
        if self._watches >= _MAX_WATCHES:
            raise Overloaded(self._entropy.uniform(*_RETRY_SECONDS))
        self._watches += 1
        try:
            async with aclosing(self._changes(request.service)) as changes:
                async for response in changes:
                    yield response
        finally:
            self._watches -= 1
        raise Draining if self._ended else WatchExpired

    async def _changes(self, name: str) -> AsyncGenerator[health_pb2.HealthCheckResponse]:
        monotonic = self._clock.monotonic
        ends_at = monotonic() + self._watch_lifetime.drawn(self._entropy)
        while not self._ended and monotonic() < ends_at:
            state = self._states.get(name)
            yield _UNKNOWN if state is None else _RESPONSES[state]
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._changes_from(name, state)

    async def _changes_from(self, name: str, state: Serving | None) -> None:
        while self._states.get(name) is state and not self._ended:
            await self._changed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
