"""An event loop on virtual time: when nothing is left to do, time jumps to the next timer.

It does no I/O and does not use the machine's clock or randomness, so what runs on it depends on the seed alone. The
tasks of a killed process never run again, not even their `finally` blocks, as with a real process.
"""

import asyncio
import heapq
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from random import Random

BEGINNING_SECONDS = 1_000.0
_MOST_BURIALS = 20
_MOST_TURNS_AT_ONCE = 100_000
_STALLS_SECONDS = (0.0005, 0.005, 0.05, 0.4)
BEGINNING = datetime(2026, 11, 27, tzinfo=UTC)


class DeadEndError(Exception):
    """There is nothing to do and no timer, but a task still waits."""


class EndlessError(Exception):
    """It never ends: virtual time does not advance, or passes its limit."""


class Process:
    """A simulated process. A task belongs to the process that was current when it was created."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.killed = False


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def context_of(process: Process | None):
    """Return a context in which every task that is started belongs to `process`."""
    context = copy_context()
    context.run(PROCESS.set, process)
    return context


class _Handle:
    """A scheduled callback, as asyncio's Handle, at half its cost."""

    __slots__ = ("_callback", "_cancelled", "_context", "_when")

    def __init__(self, callback, context, when=0.0) -> None:
        self._callback = callback
        self._context = context
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = None

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """`stalls` returns extra seconds for some jumps of time, as on a busy machine."""

    def __init__(self, stalls: Random | None = None, stall_share: float = 0.0) -> None:
        super().__init__()
        self._now = BEGINNING_SECONDS
        self._stalls = stalls if stall_share else None
        self._stall_share = stall_share
        self._stalled = []
        self._timers = []
        self._timed = 0
        self.ends_at = float("inf")
        self._turns_at_once = 0
        self.complaints: list[str] = []
        self._dead: list[asyncio.Task] = []
        self._killed: list[Process] = []
        self._unrun: list[_Handle] = []
        self.set_exception_handler(self._complain)

    def call_soon(self, callback, *args, context=None):
        handle = _Handle((callback, args), copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_at(self, when, callback, *args, context=None):
        handle = _Handle((callback, args), copy_context() if context is None else context, when)
        # Timers of the same moment run in the order of their creation.
        self._timed += 1
        heapq.heappush(self._timers, (when, self._timed, handle))
        return handle

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self._now + delay, callback, *args, context=context)

    call_soon_threadsafe = call_soon

    def _run_once(self) -> None:
        ready = self._ready
        if not ready and not self._stopping:
            self._jump()
        self._turns_at_once += 1
        if self._turns_at_once > _MOST_TURNS_AT_ONCE:
            raise EndlessError(f"{self._turns_at_once} turns at {self._now:.6f}")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            context = handle._context
            process = context.get(PROCESS)
            if process is not None and process.killed:
                self._unrun.append(handle)
                continue
            callback, args = handle._callback
            try:
                context.run(callback, *args)
            except Exception as error:  # noqa: BLE001 -- as asyncio does
                self.call_exception_handler({"message": f"exception in {callback!r}", "exception": error})

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise DeadEndError("\n".join(sorted(map(_waits, asyncio.all_tasks(self)))))
        now = max(self._now, timers[0][0])
        if self._stalls is not None and self._stalls.random() < self._stall_share:
            seconds = self._stalls.choice(_STALLS_SECONDS)
            now += seconds
            self._stalled.append((now, seconds))
        if now > self.ends_at:
            raise EndlessError(f"it has not come to its end at {now:.3f}")
        if now > self._now:
            self._now, self._turns_at_once = now, 0
        ready = self._ready
        while timers and timers[0][0] <= now:
            ready.append(heapq.heappop(timers)[2])

    def kill(self, process: Process) -> None:
        """Kill a process: none of its tasks runs again. They are kept until the end of the run."""
        process.killed = True
        self._killed.append(process)
        self._dead += asyncio.all_tasks(self)

    def bury(self) -> None:
        """End all tasks that still wait, after the run was judged."""
        self.ends_at, self._turns_at_once = float("inf"), 0
        self.set_exception_handler(lambda _loop, _context: None)
        for process in self._killed:
            process.killed = False
        self._ready.extend(self._unrun)
        for _ in range(_MOST_BURIALS):
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        assert not asyncio.all_tasks(self), "what is left would end when memory is freed, in the middle of another run"
        self._dead.clear()
        self.close()

    def time(self) -> float:
        return self._now

    def stalled_seconds(self, begin: float, end: float) -> float:
        """Return by how much stalls have prolonged the time between two moments."""
        return sum(seconds for at, seconds in self._stalled if begin < at <= end)

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict) -> None:
        error = context.get("exception")
        self.complaints.append(f"{context['message']}: {error!r}")

    def _write_to_self(self) -> None:
        # There is only one thread, so there is none to wake up.
        pass


def _waits(task: asyncio.Task) -> str:
    return f"waits for ever: {task.get_name()}"


class LoopClock:
    """A clock with the loop's time, and a wall clock with an offset."""

    def __init__(self, loop: asyncio.AbstractEventLoop, skew_seconds: float = 0.0) -> None:
        self._loop = loop
        self.skew_seconds = skew_seconds

    def monotonic(self) -> float:
        return self._loop.time()

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self._loop.time() - BEGINNING_SECONDS + self.skew_seconds)
