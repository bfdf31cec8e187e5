"""Health checks of a process and its dependencies, and the command that asks a process on this machine."""

import asyncio
import sys
import urllib.error
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from holdfast_chassis import direct
from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.listening import authority, own_address
from holdfast_chassis.waiting import finish

_ASK_SECONDS = 3.0


def ask_health(host: str, port: int, *, live: bool) -> int:
    """Print whether the service whose metrics are there on this machine is ready, or alive; return 0 if so, else 1."""
    url = f"http://{authority(own_address(host), port)}/health/{'live' if live else 'ready'}"
    try:
        with direct.urlopen(url, _ASK_SECONDS) as answer:
            sys.stdout.write(answer.read().decode() + "\n")
    except urllib.error.HTTPError as refusal:
        with refusal:
            sys.stdout.write(refusal.read().decode() + "\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"the service does not answer: {error}\n")
        return 1
    return 0


@dataclass(frozen=True, slots=True)
class Check:
    """A check. `probe` raises if its dependency fails; only a critical check can make the process unready."""

    name: str
    probe: Callable[[], Awaitable[None]]
    timeout_seconds: float
    critical: bool = True


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check; `error` is None if it passed."""

    name: str
    critical: bool
    latency_ms: float
    error: str | None

    @property
    def status(self) -> Literal["pass", "fail"]:
        """The result in one word."""
        return "pass" if self.error is None else "fail"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The results of all checks, at one time."""

    checks: tuple[CheckResult, ...]
    checked_at: datetime

    @property
    def ready(self) -> bool:
        """Whether all critical checks passed."""
        return all(check.error is None for check in self.checks if check.critical)


class HealthBoard:
    """A set of checks that run concurrently, at most once per `fresh_seconds`, regardless of the number of probes.

    Orchestrator, edge and dashboard probe at the same time; a dependency in trouble must not get more load from them.
    """

    def __init__(self, checks: Sequence[Check], clock: Clock = SYSTEM_CLOCK, *, fresh_seconds: float = 1.0) -> None:
        self._checks = tuple(checks)
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._round: asyncio.Task[HealthReport] | None = None
        self._done_at = 0.0

    async def report(self) -> HealthReport:
        """Return the latest results, at most `fresh_seconds` old; it takes at most the longest check's timeout."""
        if self._round is None or (self._round.done() and self._stale()):
            self._round = asyncio.create_task(self._run())
        # Shielded, because a prober that disconnects must not cancel the check for the others.
        return await asyncio.shield(self._round)

    def _stale(self) -> bool:
        return self._clock.monotonic() - self._done_at >= self._fresh_seconds

    async def _run(self) -> HealthReport:
        results = await asyncio.gather(*map(self._look, self._checks))
        self._done_at = self._clock.monotonic()
        return HealthReport(tuple(results), self._clock.now())

    async def _look(self, check: Check) -> CheckResult:
        began_at = self._clock.monotonic()
        error = await finish(check.probe, check.timeout_seconds)
        latency_ms = (self._clock.monotonic() - began_at) * 1000
        description = None if error is None else f"{type(error).__name__}: {error}"
        return CheckResult(check.name, check.critical, round(latency_ms, 3), description)
