"""Decides from a sale's last batches whether its next one should be exclusive."""

from dataclasses import dataclass

_MOST_BATCHES = 64


@dataclass(slots=True)
class Contention:
    """The number of exclusive batches after a stale one: 1, then 2, 4, ... 64.

    Each batch that is neither exclusive nor stale halves it.
    """

    _exclusive_batches: int = 0
    _next_batches: int = 1

    @property
    def is_high(self) -> bool:
        """Return whether the next batch should be exclusive."""
        return self._exclusive_batches > 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to remember."""
        return self._exclusive_batches == 0 and self._next_batches == 1

    def missed(self) -> None:
        """Note a stale batch."""
        self._exclusive_batches = self._next_batches
        self._next_batches = min(2 * self._next_batches, _MOST_BATCHES)

    def committed(self) -> None:
        """Note a batch that was committed or had nothing to commit."""
        if self._exclusive_batches:
            self._exclusive_batches -= 1
        else:
            self._next_batches = max(self._next_batches // 2, 1)
