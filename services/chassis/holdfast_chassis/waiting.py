"""Waits that always end in time, even if the work ignores cancellation."""

import asyncio
from collections.abc import Awaitable, Callable

_CANCEL_GRACE_SECONDS = 1.0


async def first_of(*events: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait until one of the events is set. Return False if the time is up first."""
    if timeout_seconds > 0 and not any(event.is_set() for event in events):
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    return any(event.is_set() for event in events)


async def finish(
    work: Callable[[], Awaitable[None]], timeout_seconds: float, unless: asyncio.Event | None = None
) -> BaseException | None:
    """Run `work` to its end and return its error, or None.

    Work is cancelled if it is not done in time (TimeoutError) or when `unless` is set (CancelledError). If it ignores
    the cancellation for a second it is abandoned; asyncio.timeout would wait for it forever.
    """
    task = asyncio.ensure_future(work())
    done = asyncio.Event()

    def settle(_: asyncio.Future[None]) -> None:
        # Retrieved even if the work was abandoned; otherwise asyncio reports a lost exception.
        if not task.cancelled():
            task.exception()
        done.set()

    task.add_done_callback(settle)
    try:
        in_time = await first_of(done, *([unless] if unless else []), timeout_seconds=timeout_seconds)
    finally:
        task.cancel()
    if not await first_of(done, timeout_seconds=_CANCEL_GRACE_SECONDS):
        return TimeoutError(f"not done after {timeout_seconds} s, and ignores its cancellation")
    if not task.cancelled():
        return task.exception()
    return asyncio.CancelledError() if in_time else TimeoutError(f"not done after {timeout_seconds} s")
