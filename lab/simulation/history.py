"""The commands and answers of callers: with the server's log, all that the judge knows."""

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Any

from holdfast_inventory.domain.errors import DomainError, OutcomeUnknown


@dataclass(eq=False)
class Call:
    """One command, sent once. Moments are (position in the history, loop time).

    `answer` is a reply, a refusal, or None if the caller disconnected or the replica died. `replicated` is the
    position of the standby at the time of the answer. An answer after `patience_seconds` is too late. `queued_at` is
    when it was given to the ledger. If it is not `alone`, it is answered together with the others of its call.
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
    def is_refused(self) -> bool:
        """Whether the answer says that nothing was done."""
        return isinstance(self.answer, DomainError) and not isinstance(self.answer, OutcomeUnknown)

    @property
    def is_done(self) -> bool:
        return self.answer is not None and not isinstance(self.answer, DomainError)

    @property
    def may_be_done(self) -> bool:
        """Whether the ledger may have an effect of it."""
        return self.command is not None and not self.is_refused


class History:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._places = count(1)
        self.calls: list[Call] = []
        self.rule_changes: list[Any] = []

    def moment(self) -> tuple[int, float]:
        return next(self._places), self._loop.time()

    def begin(
        self, replica: str, sale_id: str, patience_seconds: float, deadline: float | None, *, alone: bool = True
    ) -> Call:
        call = Call(len(self.calls), replica, sale_id, self.moment(), patience_seconds, deadline, alone)
        self.calls.append(call)
        return call
