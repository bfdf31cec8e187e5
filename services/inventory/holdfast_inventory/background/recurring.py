"""Work that is repeated in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from holdfast_chassis.backoff import Backoff
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger

_JITTER = 0.25
_MOST_RETRY_SECONDS = 5.0
_FINISH_SECONDS = 2.0
_CANCEL_SECONDS = 1.0

_log = get_logger("holdfast.recurring")


class BackgroundWork(Protocol):
    """Work that a process does beside its calls. `start` and `stop` may be called twice."""

    async def start(self) -> None:
        """Start."""

    async def stop(self) -> None:
        """Stop within some seconds."""


class Recurring:
    """A task that calls `work` about every `interval_seconds`, with jitter, so that replicas are not synchronous.

    `work` returns whether there is more to do at once. If it fails it is tried again, with increasing delays of up
    to 5 s; the first failure and the recovery are logged.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[bool]],
        interval_seconds: float,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        self._name = name
        self._work = work
        self._interval_seconds = interval_seconds
        self._entropy = entropy
        self._backoff = Backoff(min(interval_seconds, _MOST_RETRY_SECONDS), _MOST_RETRY_SECONDS, entropy)
        self._fails = False
        self._stopping = False
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start. Has no effect if it is running."""
        if self._task is None:
            self._stopping = False
            self._task = asyncio.create_task(self._recur(), name=self._name)

    async def stop(self) -> None:
        """Stop within three seconds: the work has two to finish, then it is cancelled. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping = True
        self.wake()
        _, unfinished = await asyncio.wait({task}, timeout=_FINISH_SECONDS)
        if unfinished:
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)

    def wake(self) -> None:
        """Call `work` now instead of after the interval."""
        self._due.set()

    async def _recur(self) -> None:
        while not self._stopping:
            wait_seconds = await self._once()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._due.wait()
            self._due.clear()

    async def _once(self) -> float:
        """Call `work` once. Return the seconds until the next call."""
        try:
            is_more = await self._work()
        except Exception as error:  # noqa: BLE001 - the loop must survive any error
            if not self._fails:
                _log.warning("background work fails and is retried", work=self._name, error=repr(error))
            self._fails = True
            return self._backoff.next_seconds()
        if self._fails:
            _log.info("background work succeeds again", work=self._name)
        self._fails = False
        self._backoff.reset()
        if is_more:
            return 0.0
        return self._interval_seconds * self._entropy.uniform(1 - _JITTER, 1 + _JITTER)
