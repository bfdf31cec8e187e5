"""The state that a server needs to stop without dropping calls: recent arrivals, and calls in progress."""

import asyncio
from types import TracebackType

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.waiting import first_of


class Arrivals:
    """The time of the latest call. Load balancers continue to send calls for a while after readiness has failed."""

    __slots__ = ("_monotonic", "count", "latest_at")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._monotonic = clock.monotonic
        self.count = 0
        self.latest_at = self._monotonic()

    def record(self) -> float:
        """Note that a call has arrived, and return the monotonic time."""
        self.count += 1
        self.latest_at = now = self._monotonic()
        return now

    async def wait_until_quiet(
        self, quiet_seconds: float, min_seconds: float, max_seconds: float, hurry: asyncio.Event
    ) -> bool:
        """Wait until no call has arrived for `quiet_seconds`, at least `min_seconds` and at most `max_seconds`.

        Return False if it was not quiet: the time was up, or `hurry` is set.
        """
        began_at = self._monotonic()
        while not hurry.is_set():
            now = self._monotonic()
            quiet_at = max(began_at + min_seconds, self.latest_at + quiet_seconds)
            if now >= quiet_at:
                return True
            if now >= began_at + max_seconds:
                return False
            await first_of(hurry, timeout_seconds=min(quiet_at, began_at + max_seconds) - now)
        return False


class InFlight:
    """The number of calls in progress: use `with in_flight:` around each, or enter() and leave()."""

    __slots__ = ("_empty", "count")

    def __init__(self) -> None:
        self.count = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self) -> None:
        """Count the start of a call."""
        self.count += 1
        if self.count == 1:
            self._empty.clear()

    def leave(self) -> None:
        """Count the end of a call."""
        self.count -= 1
        if self.count == 0:
            self._empty.set()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    async def wait_until_empty(self, timeout_seconds: float, hurry: asyncio.Event) -> bool:
        """Wait until no call is in progress. Return False if the time was up, or `hurry` set, before that."""
        await first_of(self._empty, hurry, timeout_seconds=timeout_seconds)
        return self._empty.is_set()
