"""The simulation has its own event loop, so its tests are synchronous."""

import gc

import pytest


@pytest.fixture(autouse=True)
def no_garbage():
    """Free a seed's memory here, not in the middle of another test."""
    yield
    gc.collect()
