"""Decides how long a sale's next batch waits for more commands, so that more of them share its cost."""

from dataclasses import dataclass

_BUSY_SHARE = 0.9
_STEP_SECONDS = 0.001
"""The resolution of the event loop's timers."""


@dataclass(slots=True)
class Gathering:
    """The wait before a batch.

    A batch costs as much CPU as several commands. If the CPU is the limit, batches without a wait are small, and their
    cost uses the time in which more commands could have been read.

    So `seconds` grows with each batch during which the event loop's thread was never idle, and is halved by each one
    during which it was: idle time is never used for waiting. A lone command does not wait.
    """

    most_seconds: float
    seconds: float = 0.0
    _ended_at: float = 0.0
    _cpu_seconds: float = 0.0

    def batch_ended(self, commands: int, now: float, cpu_seconds: float) -> None:
        """Note that a batch of `commands` ended at `now`, when the thread had used `cpu_seconds`."""
        is_busy = cpu_seconds - self._cpu_seconds > _BUSY_SHARE * (now - self._ended_at)
        is_first, self._ended_at, self._cpu_seconds = not self._ended_at, now, cpu_seconds
        if is_busy and commands > 1 and not is_first:
            self.seconds = min(self.seconds + _STEP_SECONDS, self.most_seconds)
        else:
            self.seconds = self.seconds / 2 if self.seconds > _STEP_SECONDS else 0.0
