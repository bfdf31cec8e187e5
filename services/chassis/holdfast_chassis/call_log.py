"""Which calls are logged: each that failed or was slow, and of the others so many a second."""


class CallLog:
    """Decides it for all methods of a process.

    A line costs as much as a tenth of a call. A service with little to do logs all its calls; in a stampede the lines
    are few, metrics count every call, and a line says how many were left out before it.
    """

    __slots__ = ("_left_out", "_per_second", "_room", "_second", "_slow_seconds")

    def __init__(self, per_second: int, slow_seconds: float) -> None:
        """`per_second`: how many lines about calls that neither failed nor took `slow_seconds`."""
        self._per_second = self._room = per_second
        self._slow_seconds = slow_seconds
        self._second = 0
        self._left_out = 0

    def wants(self, now: float, seconds: float, *, failed: bool) -> bool:
        """Whether a call is logged that ended at `now`, a monotonic time, after `seconds`."""
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
        """How many calls were not logged since this was last asked."""
        count, self._left_out = self._left_out, 0
        return count
