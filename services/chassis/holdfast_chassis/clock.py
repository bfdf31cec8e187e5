"""The one door to time: nothing else in the product asks the machine for it, so that tests can decide it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For durations and deadlines."""
        ...

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC. For people and other machines; it may jump."""
        ...


class SystemClock:
    """The machine's own clock."""

    # Not wrapped: these run several times for every call that is served.
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""
        return datetime.now(UTC)


SYSTEM_CLOCK: Clock = SystemClock()


def thread_cpu_seconds() -> float:
    """CPU seconds that the calling thread has used: of an event loop's thread, how busy the process is."""
    return time.thread_time()
