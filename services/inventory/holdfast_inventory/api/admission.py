"""Admission of calls under overload. The queue of a sale has its own order (`stock.admission`)."""

from holdfast_chassis.concurrency import ConcurrencyLimit
from holdfast_chassis.contract import Kind
from holdfast_chassis.entropy import Entropy
from holdfast_inventory.domain.errors import Overloaded

# The range of the random retry delay, so that callers that are refused together do not return together.
_RETRY_SECONDS = (0.5, 2.0)


class Admission:
    """The limit of concurrent calls. It admits calls before they are read, so that a refusal is cheap.

    Each call that enters must leave.
    """

    def __init__(self, limit: int, entropy: Entropy) -> None:
        """`limit` is the most concurrent calls."""
        self._concurrency = ConcurrencyLimit(limit)
        self._uniform = entropy.uniform
        self.leave = self._concurrency.leave

    @property
    def admitted(self) -> int:
        """The number of calls in progress."""
        return self._concurrency.taken

    def enter(self, kind: Kind) -> None:
        """Admit and count a call. Raises Overloaded."""
        if not self._concurrency.enter(kind):
            raise Overloaded(self._uniform(*_RETRY_SECONDS))
