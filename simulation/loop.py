"""An event loop on virtual time: when nothing is left to do, time jumps to the next timer.

It does no I/O and asks the machine for nothing, so what runs on it depends on the seed alone. Whatever belongs to a
process that was killed never runs again, not even its `finally`: that is what a killed process is like.
"""

import asyncio
import heapq
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from random import Random

BEGINNING_SECONDS = 1_000.0
_MOST_BURIALS = 20
BEGINNING = datetime(2026, 11, 27, tzinfo=UTC)


class DeadEndError(Exception):
    """Nothing is left to do and no timer runs, but somebody still waits: for ever."""


class EndlessError(Exception):
    """Time stands still: callbacks call for each other without end."""


class Process:
    """Whose code it is that runs. A task belongs to the process that was current when it was made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.killed = False


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def context_of(process: Process | None):
    """A context in which all that is started belongs to `process`."""
    context = copy_context()
    context.run(PROCESS.set, process)
    return context


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """`stalls` sometimes makes a jump longer than the timer asked for, as a busy machine does."""

    def __init__(self, stalls: Random | None = None, stall_share: float = 0.0, most_turns_at_once: int = 100_000) -> None:
        super().__init__()
        self._now = BEGINNING_SECONDS
        self._stalls = stalls
        self._stall_share = stall_share
        self._most_turns_at_once = most_turns_at_once
        self._turns_at_once = 0
        self.turns = 0
        self.complaints: list[str] = []
        self._dead: list[asyncio.Task] = []
        self._killed: list[Process] = []
        self.set_exception_handler(self._complain)

    def kill(self, process: Process) -> None:
        """Nothing of the process runs from now on. What it was doing is kept, for the end of the run."""
        process.killed = True
        self._killed.append(process)
        self._dead += asyncio.all_tasks(self)

    def bury(self) -> None:
        """Ends, once all is judged, whatever still waits: what was killed, and what belongs to nobody any more."""
        self.set_exception_handler(lambda _loop, _context: None)
        for process in self._killed:
            process.killed = False
        for _ in range(_MOST_BURIALS):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        self._dead.clear()
        self.close()

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict) -> None:
        error = context.get("exception")
        self.complaints.append(f"{context['message']}: {error!r}")

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready = self._ready
        if not ready and not self._stopping:
            self._jump()
        self._turns_at_once += 1
        self.turns += 1
        if self._turns_at_once > self._most_turns_at_once:
            raise EndlessError(f"{self._turns_at_once} turns at {self._now:.6f}")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(PROCESS)
            if process is None or not process.killed:
                handle._run()

    def _jump(self) -> None:
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            self._pop_timer()
        if not scheduled:
            raise DeadEndError("\n".join(sorted(map(_waits, asyncio.all_tasks(self)))))
        now = max(self._now, scheduled[0]._when)
        if self._stalls is not None and self._stalls.random() < self._stall_share:
            now += self._stalls.choice((0.0005, 0.005, 0.05, 0.4))
        if now > self._now:
            self._now, self._turns_at_once = now, 0
        while scheduled and scheduled[0]._when <= now:
            handle = self._pop_timer()
            if not handle._cancelled:
                self._ready.append(handle)

    def _pop_timer(self) -> asyncio.TimerHandle:
        handle = heapq.heappop(self._scheduled)
        handle._scheduled = False
        return handle

    def _timer_handle_cancelled(self, handle) -> None:
        # Cancelled timers are dropped when their time comes.
        pass

    def _write_to_self(self) -> None:
        # Nobody sleeps who would have to be woken.
        pass


def _waits(task: asyncio.Task) -> str:
    return f"waits for ever: {task.get_name()}"


class LoopClock:
    """The loop's time, and a wall clock that may be wrong by so much."""

    def __init__(self, loop: asyncio.AbstractEventLoop, skew_seconds: float = 0.0) -> None:
        self._loop = loop
        self.skew_seconds = skew_seconds

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self._loop.time() - BEGINNING_SECONDS + self.skew_seconds)
