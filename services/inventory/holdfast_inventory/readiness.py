"""Readiness: new calls are accepted while PostgreSQL answers, until the process is asked to stop.

Redis is only reported: everything works without it.
"""

from collections.abc import Callable, Sequence

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.health import HealthBoard
from holdfast_chassis.logs import get_logger
from holdfast_inventory.background.recurring import Recurring
from holdfast_inventory.transports.health import LIVENESS, Health, Serving

log = get_logger("holdfast.readiness")

_MISSES = 2
"""The number of consecutive failures that make it unready: a single check may only be slow under load."""


class Readiness:
    """A task that checks dependencies and updates gRPC's health service. `open` and `close` are idempotent."""

    def __init__(
        self,
        board: HealthBoard,
        health: Health,
        services: Sequence[str],
        tell: Callable[[float], None],
        *,
        interval_seconds: float,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`services` are the health names that follow readiness; `tell` is also called with it, as 1 or 0."""
        self._board = board
        self._health = health
        self._services = services
        self._tell = tell
        self._looks = Recurring("readiness", self._look, interval_seconds, entropy)
        self._misses = 0
        self._is_open = False
        self._ready = False
        self._publish()

    async def open(self) -> None:
        """Accept new calls from now on, while PostgreSQL answers."""
        self._is_open = True
        await self._look()
        await self._looks.start()

    async def close(self) -> None:
        """Report that new calls are no longer accepted. Calls that still arrive are served."""
        self._is_open = False
        self._publish()
        await self._looks.stop()

    async def _look(self) -> bool:
        report = await self._board.report()
        self._misses = 0 if report.ready else self._misses + 1
        self._health.set(
            {check.name: Serving.SERVING if check.status == "pass" else Serving.NOT_SERVING for check in report.checks}
        )
        self._publish()
        return False

    def _publish(self) -> None:
        ready = self._is_open and self._misses < _MISSES
        if ready is not self._ready:
            log.info("ready" if ready else "not ready")
        self._ready = ready
        self._tell(float(ready))
        state = Serving.SERVING if ready else Serving.NOT_SERVING
        self._health.set({LIVENESS: Serving.SERVING} | dict.fromkeys(self._services, state))
