"""Until when a call is worth answering."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

from holdfast_chassis.alarms import Alarms, TimeLimit
from holdfast_inventory.api.call import Call
from holdfast_inventory.domain.errors import DomainError

# An answer has to reach the caller before its deadline.
_MARGIN_SECONDS = 0.05
_MARGIN_SHARE = 0.1
_BACKSTOP_SECONDS = 1.0
"""Past the deadline, which the ledger keeps by itself, with a better answer than that the time is up."""
_NO_LIMIT: AbstractContextManager[None] = nullcontext()


class Deadlines:
    """Gives every call a deadline: the caller's, but never later than ours. Times in seconds."""

    def __init__(self, default_seconds: float, max_seconds: float) -> None:
        """`default_seconds` is for callers that have none, `max_seconds` the most that one counts for."""
        self._default_seconds = default_seconds
        self._max_seconds = max_seconds
        self._alarms = Alarms()

    def call(self, remaining_seconds: float | None) -> Call:
        """Return a call that began now."""
        is_own = remaining_seconds is not None and remaining_seconds <= self._max_seconds
        seconds = self._default_seconds if remaining_seconds is None else min(remaining_seconds, self._max_seconds)
        margin = min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
        return Call(asyncio.get_running_loop().time() + seconds - margin, has_own_deadline=is_own)

    def limit(self, call: Call, late: type[DomainError]) -> AbstractContextManager[None]:
        """Raise `late` from the block when a deadline passes that is ours alone: the transport keeps the caller's."""
        if call.has_own_deadline:
            return _NO_LIMIT
        return TimeLimit(self._alarms, call.deadline + _BACKSTOP_SECONDS, late)
