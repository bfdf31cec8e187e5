"""Selects the calls to log: each that failed or was slow, and a limited number of the others per second."""


class CallLog:
    """A selector of calls to log, for all methods of a process.

    A line costs a tenth of a call. With little load all calls are logged; in a stampede only some are, metrics count
    every call, and each line says how many calls were left out before it.
    """

    __slots__ = ("_left_out", "_per_second", "_room", "_second", "_slow_seconds")

    def __init__(self, per_second: int, slow_seconds: float) -> None:
        """`per_second` is the most lines about calls that neither failed nor took `slow_seconds`."""
        self._per_second = self._room = per_second
        self._slow_seconds = slow_seconds
        self._second = 0
        self._left_out = 0

    def wants(self, now: float, seconds: float, *, failed: bool) -> bool:
        """Return whether to log a call that ended at `now`, a monotonic time, after `seconds`."""
        second = int(now)
        if second != self._second:
            self._second, self._room = second, self._per_second
        if self._room > 0:
            self._room -= 1
            return True
        if failed or seconds >= self._slow_seconds:
            return True
        self._left_out += 1
        return False

    def left_out(self) -> int:
        """Return the number of calls that were not logged since the last call of this method."""
        count, self._left_out = self._left_out, 0
        return count
