"""Recurring work, in virtual time."""

import asyncio

import pytest

from holdfast_inventory.background.recurring import Recurring


class Work:
    def __init__(self, elapsed):
        self.elapsed = elapsed
        self.done_at = []
        self.failures = 0
        self.more = 0
        self.takes_seconds = 0.0

    async def __call__(self):
        await asyncio.sleep(self.takes_seconds)
        self.done_at.append(self.elapsed())
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no database")
        self.more -= 1
        return self.more >= 0


@pytest.fixture
def work(elapsed):
    return Work(elapsed)


@pytest.fixture
async def recurring(work):
    recurring = Recurring("test", work, 1.0)
    yield recurring
    await recurring.stop()


async def test_it_begins_at_once_and_goes_on_every_interval_or_so(recurring, work):
    await recurring.start()
    await asyncio.sleep(100)
    assert work.done_at[0] == 0
    assert 80 <= len(work.done_at) <= 130
    gaps = {round(later - earlier, 3) for earlier, later in zip(work.done_at, work.done_at[1:], strict=False)}
    assert len(gaps) > 10, "without jitter replicas work in step"
    assert all(0.75 <= gap <= 1.25 for gap in gaps)


async def test_it_goes_on_at_once_while_there_is_more(recurring, work):
    work.more = 5
    await recurring.start()
    await asyncio.sleep(0.5)
    assert work.done_at == [0] * 6


async def test_it_is_woken(recurring, work):
    await recurring.start()
    await asyncio.sleep(0.5)
    recurring.wake()
    await asyncio.sleep(0.1)
    assert work.done_at == [0, 0.5]


async def test_after_failures_it_waits_longer_but_never_long(recurring, work):
    work.failures = 20
    await recurring.start()
    await asyncio.sleep(200)
    gaps = [later - earlier for earlier, later in zip(work.done_at, work.done_at[1:], strict=False)]
    assert max(gaps[:20]) <= 5
    assert gaps[19] >= 2.5
    assert gaps[20] <= 1.25, "it works again, so the next failure is a first one"


async def test_starting_twice_starts_once(recurring, work):
    await recurring.start()
    await recurring.start()
    await asyncio.sleep(0.5)
    assert work.done_at == [0]


async def test_it_stops_without_having_started_and_twice(recurring, work):
    await recurring.stop()
    await recurring.start()
    await recurring.stop()
    await recurring.stop()
    await asyncio.sleep(10)
    assert len(work.done_at) <= 1


async def test_stopping_lets_the_work_finish(recurring, work, elapsed):
    work.takes_seconds = 1.5
    await recurring.start()
    await asyncio.sleep(0.1)
    await recurring.stop()
    assert work.done_at == [1.5]


async def test_stopping_does_not_wait_for_work_that_takes_too_long(recurring, work, elapsed):
    work.takes_seconds = 3600
    await recurring.start()
    await asyncio.sleep(0.1)
    await recurring.stop()
    assert elapsed() < 3.5
    assert work.done_at == []


async def test_it_starts_again_after_it_was_stopped(recurring, work):
    await recurring.start()
    await asyncio.sleep(0.1)
    await recurring.stop()
    await recurring.start()
    await asyncio.sleep(0.1)
    assert len(work.done_at) == 2
