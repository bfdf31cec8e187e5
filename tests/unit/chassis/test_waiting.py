"""Waits that always end."""

import asyncio

from holdfast_chassis.waiting import finish, first_of


async def forever():
    await asyncio.Event().wait()


async def test_work_that_ends_in_time_has_no_error(elapsed):
    assert await finish(lambda: asyncio.sleep(3), 5) is None
    assert elapsed() == 3


async def test_an_exception_is_returned_not_raised():
    async def fail():
        raise ValueError("no")

    assert repr(ValueError("no")) == repr(await finish(fail, 5))


async def test_work_that_takes_too_long_is_cancelled_and_named_a_timeout(elapsed):
    error = await finish(forever, 5)
    assert isinstance(error, TimeoutError)
    assert "5 s" in str(error)
    assert elapsed() == 5


async def test_work_that_ignores_being_cancelled_is_left_behind_after_a_second(elapsed):
    may_end = asyncio.Event()

    async def stubborn():
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("a late error is nobody's business")

    error = await finish(stubborn, 5)
    assert isinstance(error, TimeoutError)
    assert "ignores" in str(error)
    assert elapsed() == 6
    may_end.set()


async def test_work_is_cancelled_when_the_event_is_set(elapsed):
    unless = asyncio.Event()
    asyncio.get_running_loop().call_later(2, unless.set)
    assert isinstance(await finish(forever, 5, unless=unless), asyncio.CancelledError)
    assert elapsed() == 2


async def test_work_that_ends_while_it_is_cancelled_counts_as_done():
    async def completes():
        try:
            await forever()
        except asyncio.CancelledError:
            return

    assert await finish(completes, 5) is None


async def test_cancelling_the_wait_cancels_the_work():
    cancelled = asyncio.Event()

    async def work():
        try:
            await forever()
        finally:
            cancelled.set()

    wait = asyncio.create_task(finish(work, 5))
    await asyncio.sleep(1)
    wait.cancel()
    await asyncio.wait([wait])
    assert wait.cancelled()
    assert await first_of(cancelled, timeout_seconds=1)


async def test_the_first_of_several_events_ends_the_wait(elapsed):
    one, other = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(2, other.set)
    assert await first_of(one, other, timeout_seconds=5)
    assert elapsed() == 2


async def test_no_event_means_the_time_is_up(elapsed):
    assert not await first_of(asyncio.Event(), timeout_seconds=5)
    assert elapsed() == 5


async def test_waiting_leaves_no_task_behind():
    await first_of(asyncio.Event(), timeout_seconds=5)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
