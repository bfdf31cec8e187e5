"""An event loop on virtual time: when nothing is left to do, time jumps to the next timer."""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

import pytest

BEGINNING_SECONDS = 1_000.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.virtual_now = BEGINNING_SECONDS
        super().__init__(_NeverIdle(self))

    def time(self):
        return self.virtual_now


class _NeverIdle(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        if not timeout:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self._loop.virtual_now += timeout
        return ready


class LoopClock:
    """The event loop's time, as a Clock."""

    def monotonic(self):
        return asyncio.get_running_loop().time()

    def now(self):
        return datetime(2026, 11, 27, tzinfo=UTC) + timedelta(seconds=self.monotonic())


# A conftest that imports this lets its tests run in virtual time.


def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
def clock():
    return LoopClock()


@pytest.fixture
def elapsed():
    """Return the seconds of virtual time since the test began. Call it inside the loop."""
    return lambda: asyncio.get_running_loop().time() - BEGINNING_SECONDS
