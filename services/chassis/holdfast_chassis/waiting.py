"""Waits that always end: in time, and even when what they wait for ignores being cancelled."""

import asyncio
from collections.abc import Awaitable, Callable

_CANCEL_GRACE_SECONDS = 1.0


async def first_of(*events: asyncio.Event, timeout_seconds: float) -> bool:
    """Wait until one of the events is set; return whether one is, rather than the time being up."""
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
    """Run `work` to its end and return what went wrong, or None.

    Work that is not done in time (TimeoutError), or when `unless` is set (CancelledError), is cancelled. If it does
    not heed that within a second it is left behind: asyncio.timeout would wait for it for ever.
    """
    task = asyncio.ensure_future(work())
    done = asyncio.Event()

    def settle(_: asyncio.Future[None]) -> None:
        # Looked at even when nobody waits any more, or asyncio complains that the exception was lost.
        if not task.cancelled():
            task.exception()
        done.set()

    task.add_done_callback(settle)
    try:
        in_time = await first_of(done, *([unless] if unless else []), timeout_seconds=timeout_seconds)
    finally:
        task.cancel()
    if not await first_of(done, timeout_seconds=_CANCEL_GRACE_SECONDS):
        return TimeoutError(f"not done after {timeout_seconds} s, and does not heed being cancelled")
    if not task.cancelled():
        return task.exception()
    return asyncio.CancelledError() if in_time else TimeoutError(f"not done after {timeout_seconds} s")
