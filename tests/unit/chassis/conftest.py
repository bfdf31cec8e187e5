"""Async tests here run in virtual time: when nothing is left to do, time jumps to the next timer."""

import asyncio

import pytest

from tests.support.virtual_time import clock, elapsed, pytest_asyncio_loop_factories

__all__ = ["clock", "elapsed", "pytest_asyncio_loop_factories"]


@pytest.fixture
def hurry():
    return asyncio.Event()
