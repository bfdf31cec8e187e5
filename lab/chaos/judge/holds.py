"""Open holds. They end when they are due, even if the ledger records it later."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple


class Hold(NamedTuple):
    """A line of a reservation."""

    reservation: str
    item: str


class LiveHolds:
    """The units of each hold that is neither due nor ended."""

    def __init__(self) -> None:
        self._units: dict[Hold, int] = {}
        self._ends: list[tuple[float, Hold]] = []

    def begin(self, hold: Hold, units: int, expire_time: float) -> None:
        self._units[hold] = units
        heappush(self._ends, (expire_time, hold))

    def end(self, hold: Hold) -> int:
        """End a hold, and return the units that it still held: none if it was due."""
        return self._units.pop(hold, 0)

    def due(self, time: float) -> Iterator[tuple[float, Hold, int]]:
        """End the holds that are due by then. Return the times at which they ended."""
        while self._ends and self._ends[0][0] <= time:
            expire_time, hold = heappop(self._ends)
            if hold in self._units:
                yield expire_time, hold, self._units.pop(hold)


class Timeline:
    """A number that changes at times, each not before the last. It begins with 0."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._values = [0]

    def set(self, time: float, value: int) -> None:
        self._times.append(time)
        self._values.append(value)

    def between(self, first: float, last: float) -> list[int]:
        """Return all its values between two times, beginning with the value just before the first."""
        return self._values[bisect_left(self._times, first) : bisect_right(self._times, last) + 1]
