"""Work that is done again and again in the background."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from holdfast_chassis.backoff import Backoff
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger

_JITTER = 0.25
_MOST_RETRY_SECONDS = 5.0
_FINISH_SECONDS = 2.0
_CANCEL_SECONDS = 1.0

_log = get_logger("holdfast.recurring")


class Recurring:
    """Does `work` every `interval_seconds` or so: with jitter, so that replicas do not work in step.

    `work` returns whether there is more to do right away. When it fails it is tried again, after ever longer
    waits of up to 5 s; the log tells when that begins and when it is over.
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
        """Begins. Does nothing when it runs."""
        if self._task is None:
            self._stopping = False
            self._task = asyncio.create_task(self._recur(), name=self._name)

    async def stop(self) -> None:
        """Ends within three seconds, two of which the work has to finish. Does nothing when it does not run."""
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
        """Does not wait for the next time: there may be something to do now."""
        self._due.set()

    async def _recur(self) -> None:
        while not self._stopping:
            wait_seconds = await self._once()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._due.wait()
            self._due.clear()

    async def _once(self) -> float:
        """Works once. Returns after how many seconds to work again."""
        try:
            is_more = await self._work()
        except Exception as error:  # noqa: BLE001 - it must go on, whatever happened
            if not self._fails:
                _log.warning("it fails, and is tried again until it works", work=self._name, error=repr(error))
            self._fails = True
            return self._backoff.next_seconds()
        if self._fails:
            _log.info("it works again", work=self._name)
        self._fails = False
        self._backoff.reset()
        if is_more:
            return 0.0
        return self._interval_seconds * self._entropy.uniform(1 - _JITTER, 1 + _JITTER)
