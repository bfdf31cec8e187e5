"""The lifecycle of a service: start steps in order, serve until a signal, stop them in reverse, each within a limit."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.logs import exit_now, get_logger
from holdfast_chassis.waiting import finish

log = get_logger(__name__)

Phase = Literal["starting", "serving", "stopping", "stopped"]
PHASES: tuple[Phase, ...] = ("starting", "serving", "stopping", "stopped")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
"""What asks for a stop, then for haste, then for an end at once (`Lifecycle.on_signal`)."""
_EXIT_INTERRUPTED = 130


class CannotStartError(Exception):
    """A step cannot start. The message is for operators and is logged without a traceback."""


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the service that is started and stopped with it.

    A start that raises or is cancelled after its timeout must clean up after itself: only steps that have started are
    stopped.
    """

    name: str
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    start_timeout_seconds: float
    stop_timeout_seconds: float


class Lifecycle:
    """Starts and stops the steps. A second signal sets `hurry`, which ends the waits of a drain."""

    def __init__(
        self,
        steps: Sequence[Step],
        *,
        on_phase: Callable[[str], None] = lambda _: None,
        clock: Clock = SYSTEM_CLOCK,
        exit_now: Callable[[int], None] = exit_now,
    ) -> None:
        self.hurry = asyncio.Event()
        self.exit_code = 0
        self._steps = tuple(steps)
        self._started: list[Step] = []
        self._stop_requested = asyncio.Event()
        self._stop_lock = asyncio.Lock()
        self._signals = 0
        self._on_phase = on_phase
        self._clock = clock
        self._exit_now = exit_now

    async def run(self) -> int:
        """As `serve`, observing the process's signals."""
        with self._signals_observed():
            return await self.serve()

    async def serve(self) -> int:
        """Start, serve until a signal or request_stop(), stop. Returns the exit code: 1 when any step failed."""
        try:
            if await self.start():
                await self._stop_requested.wait()
        finally:
            await self.stop()
        return self.exit_code

    def request_stop(self, reason: str, *, failed: bool = False) -> None:
        """Request an orderly stop; with `failed` the exit code is 1, so that a supervisor starts the service again."""
        if failed:
            self.exit_code = 1
        if not self._stop_requested.is_set():
            log.info("stop_requested", reason=reason)
            self._stop_requested.set()

    async def start(self) -> bool:
        """Start the steps in order. Return False if one fails or a stop is requested meanwhile."""
        self._on_phase("starting")
        for step in self._steps:
            if self._stop_requested.is_set() or not await self._start(step):
                return False
        self._on_phase("serving")
        log.info("serving")
        return True

    async def stop(self) -> None:
        """Stop the started steps, the latest first, even if some fail. May be called at any time, and twice."""
        async with self._stop_lock:
            self._on_phase("stopping")
            while self._started:
                await self._stop(self._started.pop())
            self._on_phase("stopped")

    async def _start(self, step: Step) -> bool:
        began_at = self._clock.monotonic()
        error = await finish(step.start, step.start_timeout_seconds, unless=self._stop_requested)
        seconds = self._seconds_since(began_at)
        if error is None:
            self._started.append(step)
            log.info("step_started", step=step.name, seconds=seconds)
        elif self._stop_requested.is_set():
            log.info("step_start_abandoned", step=step.name, seconds=seconds)
        elif isinstance(error, CannotStartError):
            self.exit_code = 1
            log.error("step_start_failed", step=step.name, seconds=seconds, error=str(error))
        else:
            self.exit_code = 1
            log.error("step_start_failed", step=step.name, seconds=seconds, exc_info=error)
        return error is None

    async def _stop(self, step: Step) -> None:
        log.info("step_stopping", step=step.name)
        began_at = self._clock.monotonic()
        error = await finish(step.stop, step.stop_timeout_seconds)
        seconds = self._seconds_since(began_at)
        if error is None:
            log.info("step_stopped", step=step.name, seconds=seconds)
        else:
            self.exit_code = 1
            log.error("step_stop_failed", step=step.name, seconds=seconds, exc_info=error)

    def _seconds_since(self, began_at: float) -> float:
        return round(self._clock.monotonic() - began_at, 6)

    @contextmanager
    def _signals_observed(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self.on_signal, number)
        try:
            yield
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)

    def on_signal(self, number: signal.Signals) -> None:
        """Stop, hurry, or exit at once: a first, a second and a third signal. On the event loop's thread."""
        # Only events are set: stopping from inside a handler hangs.
        self._signals += 1
        if self._signals == 1:
            self.request_stop(number.name)
        elif self._signals == 2:
            log.warning("hurrying", signal=number.name)
            self.hurry.set()
        else:
            log.error("exiting_at_once", signal=number.name)
            self._exit_now(_EXIT_INTERRUPTED)
