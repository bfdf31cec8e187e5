"""Which calls are let in when too many come. What waits for a sale has an order of its own (`stock.admission`)."""

from holdfast_chassis.concurrency import ConcurrencyLimit
from holdfast_chassis.contract import Kind
from holdfast_chassis.entropy import Entropy
from holdfast_inventory.domain.errors import Overloaded

# At random between these, so that those who are refused together do not come back together.
_RETRY_SECONDS = (0.5, 2.0)


class Admission:
    """Lets calls in before anything of them is read, so that a refusal costs next to nothing.

    Each that enters must leave.
    """

    def __init__(self, limit: int, entropy: Entropy) -> None:
        """`limit`: the most calls at a time."""
        self._concurrency = ConcurrencyLimit(limit)
        self._uniform = entropy.uniform
        self.leave = self._concurrency.leave

    @property
    def admitted(self) -> int:
        """How many have entered and not left."""
        return self._concurrency.taken

    def enter(self, kind: Kind) -> None:
        """Count a call in. Raises Overloaded."""
        if not self._concurrency.enter(kind):
            raise Overloaded(self._uniform(*_RETRY_SECONDS))
