"""The simulation leaves nothing behind, and so its tests are as they are everywhere: synchronous."""

import gc

import pytest


@pytest.fixture(autouse=True)
def no_garbage():
    """What a seed leaves is freed here, and not in the middle of another test."""
    yield
    gc.collect()
