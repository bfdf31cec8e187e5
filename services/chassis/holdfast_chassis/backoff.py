"""How long to wait before trying again."""

from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy


class Backoff:
    """Doubles from one failure to the next, up to a bound, with jitter so that replicas do not try in step."""

    def __init__(self, first_seconds: float, most_seconds: float, entropy: Entropy = SYSTEM_ENTROPY) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._next = first_seconds
        self._entropy = entropy

    def next_seconds(self) -> float:
        """Seconds to wait after one more failure: between half of what is due and all of it."""
        seconds, self._next = self._next, min(2 * self._next, self._most)
        return self._entropy.uniform(seconds / 2, seconds)

    def reset(self) -> None:
        """It worked: the next failure is a first one again."""
        self._next = self._first
