"""Alarms ring once when they are due, and time limits end what waits too long."""

import asyncio

import pytest

from holdfast_chassis.alarms import Alarms, TimeLimit


class Bell:
    def __init__(self, seconds):
        self.due_at = asyncio.get_running_loop().time() + seconds
        self.rang = []

    def ring(self):
        self.rang.append(asyncio.get_running_loop().time() - self.due_at)


async def test_an_alarm_rings_once_and_hardly_late():
    alarms, bell, later = Alarms(), Bell(1.0), Bell(3.0)
    alarms.set(bell)
    alarms.set(later)
    await asyncio.sleep(2.0)
    [late] = bell.rang
    assert 0 <= late <= 0.1 + 1e-6
    assert later.rang == []


async def test_an_alarm_that_was_cleared_does_not_ring():
    alarms, bell = Alarms(), Bell(1.0)
    alarms.set(bell)
    alarms.clear(bell)
    await asyncio.sleep(2.0)
    assert bell.rang == []


async def test_an_alarm_is_set_after_all_others_have_rung():
    alarms = Alarms()
    alarms.set(Bell(0.0))
    await asyncio.sleep(1.0)
    bell = Bell(1.0)
    alarms.set(bell)
    await asyncio.sleep(2.0)
    assert len(bell.rang) == 1


async def test_without_alarms_there_is_no_timer():
    alarms = Alarms()
    alarms.set(Bell(0.0))
    await asyncio.sleep(1.0)
    assert alarms._timer is None


def within(seconds, error=TimeoutError):
    return TimeLimit(Alarms(), asyncio.get_running_loop().time() + seconds, error)


async def test_a_wait_that_is_too_long_ends_with_the_error(elapsed):
    with pytest.raises(LookupError), within(1.0, LookupError):
        await asyncio.sleep(60)
    assert 1.0 <= elapsed() <= 1.2
    # The task itself continues as if it had never been cancelled.
    assert asyncio.current_task().cancelling() == 0


async def test_what_ends_in_time_is_left_alone():
    with within(1.0):
        await asyncio.sleep(0.5)
    await asyncio.sleep(2.0)


async def test_who_is_cancelled_by_others_stays_cancelled():
    async def wait():
        with within(60):
            await asyncio.sleep(120)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_by_others_as_the_time_ends_stays_cancelled():
    limit = within(60)

    async def wait():
        with limit:
            await asyncio.sleep(120)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.5)
    limit.interrupt()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_two_limits_the_one_whose_time_is_up_tells():
    with pytest.raises(LookupError), within(1.0, LookupError), within(60):
        await asyncio.sleep(120)
    with pytest.raises(TimeoutError), within(60, LookupError), within(1.0):
        await asyncio.sleep(120)
