"""How many requests a caller may send in a time: GCRA, the generic cell rate algorithm; pure.

It is a token bucket that stores one number: when the bucket will be full again. A full bucket holds a whole window's
requests, and one comes back every `window / requests`. Times are in whole microseconds, so that every implementation
says the same.
"""

from dataclasses import dataclass

from holdfast_chassis.recent import RecentMap

MICROSECONDS = 1_000_000
"""In a second."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests per window, in microseconds."""

    requests: int
    window: int

    @property
    def interval(self) -> int:
        """The microseconds after which one request becomes available again."""
        return max(1, self.window // self.requests)

    @property
    def burst(self) -> int:
        """How far ahead of now a bucket may be full again, in microseconds."""
        return self.interval * self.requests

    def share(self, replicas: int) -> "Rate":
        """Return the share of one of several independent replicas; at least one request."""
        return Rate(max(1, self.requests // max(1, replicas)), self.window)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`full_in`: microseconds until the bucket is full again. `retry_in`: until the next request is allowed, or 0."""

    full_in: int
    retry_in: int = 0

    def remaining(self, rate: Rate) -> int:
        """Return the number of requests that are allowed now."""
        return max(0, (rate.burst - self.full_in) // rate.interval)


def take(rate: Rate, full_at: int, now: int) -> tuple[int, Verdict]:
    """Take one request out of a bucket. Return when it will be full, and the verdict. A refusal takes nothing."""
    full_at = max(full_at, now)
    ahead = full_at + rate.interval - now
    if ahead > rate.burst:
        return full_at, Verdict(full_at - now, ahead - rate.burst)
    return full_at + rate.interval, Verdict(ahead)


class Buckets:
    """The buckets of one process, with a maximum number: the oldest are forgotten first."""

    def __init__(self, most: int) -> None:
        self._full_at: RecentMap[str, int] = RecentMap(most // 2)

    def take(self, rate: Rate, key: str, now: int) -> Verdict:
        """Take one request out of the bucket of `key`; `now` is in microseconds."""
        full_at, verdict = take(rate, self._full_at.get(key) or 0, now)
        self._full_at.set(key, full_at)
        return verdict
