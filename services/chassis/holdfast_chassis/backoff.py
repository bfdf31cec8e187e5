"""Retry delays."""

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy


class Backoff:
    """A delay that doubles with each failure, up to a limit, with jitter, so that replicas do not retry together."""

    def __init__(self, first_seconds: float, most_seconds: float, entropy: Entropy = SYSTEM_ENTROPY) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._next = first_seconds
        self._entropy = entropy

    def next_seconds(self) -> float:
        """Return the seconds to wait after one more failure: a random value between half of the delay and all of it."""
        seconds, self._next = self._next, min(2 * self._next, self._most)
        return self._entropy.uniform(seconds / 2, seconds)

    def reset(self) -> None:
        """Note a success: the next failure counts as the first one."""
        self._next = self._first
