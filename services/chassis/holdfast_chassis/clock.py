"""The only access to time: no other module asks the machine for it, so that tests can control it."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def monotonic(self) -> float:
        """Return seconds since a fixed moment. It never goes back. For durations and deadlines."""
        ...

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC. For people and other machines; it may jump."""
        ...


class SystemClock:
    """The machine's own clock."""

    # Not wrapped, because these run several times for every call.
    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        """Return the wall-clock time, aware and in UTC."""
        return datetime.now(UTC)


SYSTEM_CLOCK: Clock = SystemClock()


def thread_cpu_seconds() -> float:
    """Return the CPU seconds that the calling thread has used. In an event loop's thread this shows its load."""
    return time.thread_time()
