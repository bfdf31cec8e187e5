"""Whether a sale's next batch should keep others out, judged by how the last ones went."""

from dataclasses import dataclass

_MOST_BATCHES = 64


@dataclass(slots=True)
class Contention:
    """After a batch that found its sale changed, the next ones are exclusive: 1, then 2, 4, ... 64 of them.

    Each that is not, and finds its sale as it was, halves that again.
    """

    _exclusive_batches: int = 0
    _next_batches: int = 1

    @property
    def is_high(self) -> bool:
        """Whether the next batch should be exclusive."""
        return self._exclusive_batches > 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to remember."""
        return self._exclusive_batches == 0 and self._next_batches == 1

    def missed(self) -> None:
        """A batch found its sale changed."""
        self._exclusive_batches = self._next_batches
        self._next_batches = min(2 * self._next_batches, _MOST_BATCHES)

    def committed(self) -> None:
        """A batch was committed, or had nothing to commit."""
        if self._exclusive_batches:
            self._exclusive_batches -= 1
        else:
            self._next_batches = max(self._next_batches // 2, 1)
