"""Async tests here run in virtual time: when nothing is left to do, time jumps to the next timer."""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

import pytest


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose waits take no time."""

    def __init__(self):
        self.virtual_now = 1_000.0
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


def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualTimeLoop}


class LoopClock:
    """The event loop's time, as a Clock."""

    def monotonic(self):
        return asyncio.get_running_loop().time()

    def now(self):
        return datetime(2026, 11, 27, tzinfo=UTC) + timedelta(seconds=self.monotonic())


@pytest.fixture
def clock():
    return LoopClock()


@pytest.fixture
def hurry():
    return asyncio.Event()


@pytest.fixture
def elapsed():
    """Seconds of virtual time since the test began; call it inside the loop."""
    return lambda: asyncio.get_running_loop().time() - 1_000.0
