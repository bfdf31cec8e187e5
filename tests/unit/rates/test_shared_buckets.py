"""Requests that wait for shared buckets when the service stops do not wait forever."""

import asyncio
import socket

import pytest

from holdfast_chassis.rates.gcra import Rate
from holdfast_chassis.rates.shared_buckets import SharedBuckets


async def test_requests_that_are_being_asked_for_end_with_the_buckets(silent_port):
    buckets = SharedBuckets(f"redis://127.0.0.1:{silent_port}/0", Rate(10, 1_000_000), "test", "replicas")
    asked = asyncio.create_task(buckets.take(["a"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await buckets.stop()
    done, _ = await asyncio.wait({asked}, timeout=10)
    assert done == {asked}
    assert asked.cancelled()


@pytest.fixture
def silent_port():
    """The port of a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
