"""The deadlines of calls."""

import asyncio
from contextlib import AbstractContextManager, nullcontext

from holdfast_chassis.alarms import Alarms, TimeLimit
from holdfast_inventory.api.call import Call
from holdfast_inventory.domain.errors import DomainError

# An answer has to reach the caller before the deadline.
_MARGIN_SECONDS = 0.05
_MARGIN_SHARE = 0.1
_BACKSTOP_SECONDS = 1.0
"""How long after the deadline a call is ended: the ledger ends its calls before, with a more precise answer."""
_NO_LIMIT: AbstractContextManager[None] = nullcontext()


class Deadlines:
    """Sets the deadline of every call: the caller's, but no later than the maximum. Times in seconds."""

    def __init__(self, default_seconds: float, max_seconds: float) -> None:
        """`default_seconds` is for calls without a deadline, `max_seconds` the maximum."""
        self._default_seconds = default_seconds
        self._max_seconds = max_seconds
        self._alarms = Alarms()

    def call(self, remaining_seconds: float | None) -> Call:
        """Return a call that begins now."""
        is_own = remaining_seconds is not None and remaining_seconds <= self._max_seconds
        seconds = self._default_seconds if remaining_seconds is None else min(remaining_seconds, self._max_seconds)
        margin = min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
        return Call(asyncio.get_running_loop().time() + seconds - margin, has_own_deadline=is_own)

    def limit(self, call: Call, late: type[DomainError]) -> AbstractContextManager[None]:
        """Raise `late` from the block when a deadline of the service passes. The transport handles the caller's own."""
        if call.has_own_deadline:
            return _NO_LIMIT
        return TimeLimit(self._alarms, call.deadline + _BACKSTOP_SECONDS, late)
