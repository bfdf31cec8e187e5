"""The health endpoints: liveness, startup, readiness and the state of dependencies."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import orjson
from grpc_health.v1 import health_pb2

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.health import Check, HealthBoard, HealthReport
from holdfast_gateway.inventory_client import InventoryClient

_PROBE_SECONDS = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_STATUS_WORDS = {_SERVING: "UP", health_pb2.HealthCheckResponse.NOT_SERVING: "DOWN"}
# These states are shown, but only the inventory itself decides about readiness.
_DEPENDENCIES = ("database", "redis")


class UnhealthyError(Exception):
    """A check failed."""


class Health:
    """The answers of the health endpoints. `draining` makes the gateway unready while it still serves."""

    def __init__(self, inventory: InventoryClient, version: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._inventory = inventory
        self._version = version
        self._clock = clock
        self._began_at = clock.monotonic()
        self._statuses: dict[str, int] = {}
        self._board = HealthBoard([Check("inventory", self._probe, _PROBE_SECONDS)], clock)
        self.started = False
        self.draining = False

    async def _probe(self) -> None:
        self._statuses = {}
        self._statuses = await self._inventory.serving_statuses(_PROBE_SECONDS)
        if self._statuses.get("") != _SERVING:
            raise UnhealthyError("the inventory is not serving")

    async def answer(self, path: str) -> tuple[int, bytes]:
        """Return the status and the JSON of a health endpoint; `/health` has all details."""
        if path == "/health/live":
            return _rendered(healthy=True, document=self._document("UP"))
        if path == "/health/startup":
            return _rendered(healthy=self.started, document=self._document("UP" if self.started else "STARTING"))
        if path == "/health/ready":
            report = await self._board.report()
            return _rendered(healthy=self._ready(report), document=self._readiness(report))
        report = await self._board.report()
        return _rendered(healthy=self._ready(report), document=self._in_full(report))

    def _ready(self, report: HealthReport) -> bool:
        return report.ready and self.started and not self.draining

    def _document(self, status: str) -> dict[str, Any]:
        return {"status": status, "version": self._version, "timestamp": self._clock.now().isoformat()}

    def _readiness(self, report: HealthReport) -> dict[str, Any]:
        status = "UP" if self._ready(report) else "DRAINING" if self.draining else "DOWN"
        checks = {
            check.name: {
                "status": "UP" if check.error is None else "DOWN",
                "latency_ms": check.latency_ms,
                "error": check.error,
            }
            for check in report.checks
        }
        return {**self._document(status), "checks": checks}

    def _in_full(self, report: HealthReport) -> dict[str, Any]:
        dependencies = {name: _STATUS_WORDS.get(self._statuses.get(name, 0), "UNKNOWN") for name in _DEPENDENCIES}
        return {
            **self._readiness(report),
            "services_status": {
                "app": "UP" if self._ready(report) else "DEGRADED",
                "inventory": "UP" if report.ready else "DOWN",
                **dependencies,
            },
            "uptime_seconds": round(self._clock.monotonic() - self._began_at, 3),
            "memory": {"resident_bytes": resident_bytes()},
            "tasks": len(asyncio.all_tasks()),
            "python": sys.version.partition(" ")[0],
        }


def _rendered(*, healthy: bool, document: dict[str, Any]) -> tuple[int, bytes]:
    return (200 if healthy else 503), orjson.dumps(document)


def resident_bytes() -> int | None:
    """Return the resident memory of the process in bytes; None if the system does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
