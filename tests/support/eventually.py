"""Waits for changes in another process that have no event."""

import asyncio
import inspect

LOOK_SECONDS = 0.05


async def eventually(condition, within=20.0):
    """Wait until the result of `condition()`, a function or coroutine function, is true, and return it."""
    last = None
    try:
        async with asyncio.timeout(within):
            while True:
                last = condition()
                if inspect.isawaitable(last):
                    last = await last
                if last:
                    return last
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {within:g} s; the last look gave {last!r}") from None
