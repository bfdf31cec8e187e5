"""What callers did and were told: all that a judge may know besides the ledger itself."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from holdfast_inventory.domain.errors import DomainError, OutcomeUnknown


@dataclass(eq=False)
class Call:
    """One command, sent once. Moments are (place in the history, loop time).

    `answer` is a reply, a refusal, or none: the caller went away, or the replica died. `replicated` is how far the
    standby was when it was answered. After `patience_seconds` its answer is overdue, whatever it is. `queued_at` is
    when it was given to the ledger. One that is not `alone` is answered when the others are that were sent with it.
    """

    number: int
    replica: str
    sale_id: str
    invoked: tuple[int, float]
    patience_seconds: float
    deadline: float | None = None
    alone: bool = True
    command: Any = None
    queued_at: float | None = None
    answered: tuple[int, float] | None = None
    answer: Any = None
    replicated: int = 0

    @property
    def is_refused(self):
        """Whether the caller was told that nothing was done."""
        return isinstance(self.answer, DomainError) and not isinstance(self.answer, OutcomeUnknown)

    @property
    def is_done(self):
        return self.answer is not None and not isinstance(self.answer, DomainError)

    @property
    def may_be_done(self):
        """Whether an effect of its can be in the ledger."""
        return self.command is not None and not self.is_refused


class History:
    def __init__(self, loop):
        self._loop = loop
        self._places = count(1)
        self.calls = []
        self.rule_changes = []

    def moment(self):
        return next(self._places), self._loop.time()

    def begin(self, replica, sale_id, patience_seconds, deadline, *, alone=True):
        call = Call(len(self.calls), replica, sale_id, self.moment(), patience_seconds, deadline, alone)
        self.calls.append(call)
        return call
