"""Async tests here run in virtual time: when nothing is left to do, time jumps to the next timer."""

import asyncio

import pytest

from tests.support.virtual_time import BEGINNING_SECONDS, LoopClock, VirtualTimeLoop


def pytest_asyncio_loop_factories(config, item):
    return {"virtual": VirtualTimeLoop}


@pytest.fixture
def clock():
    return LoopClock()


@pytest.fixture
def hurry():
    return asyncio.Event()


@pytest.fixture
def elapsed():
    """Seconds of virtual time since the test began; call it inside the loop."""
    return lambda: asyncio.get_running_loop().time() - BEGINNING_SECONDS
