"""Async tests here run in virtual time."""

from tests.support.virtual_time import clock, elapsed, pytest_asyncio_loop_factories

__all__ = ["clock", "elapsed", "pytest_asyncio_loop_factories"]
