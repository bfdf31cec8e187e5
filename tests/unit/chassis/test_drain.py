"""The drain knows whether calls still arrive, and whether any are unfinished."""

import asyncio

import pytest

from holdfast_chassis.drain import Arrivals, InFlight


async def wait_until_quiet(arrivals, hurry):
    return await arrivals.wait_until_quiet(quiet_seconds=2, min_seconds=3, max_seconds=20, hurry=hurry)


async def test_without_calls_it_waits_the_minimum(clock, hurry, elapsed):
    assert await wait_until_quiet(Arrivals(clock), hurry)
    assert elapsed() == 3


async def test_each_call_starts_the_quiet_time_anew(clock, hurry, elapsed):
    arrivals = Arrivals(clock)
    for second in (1, 2.5, 4):
        asyncio.get_running_loop().call_later(second, arrivals.record)
    assert await wait_until_quiet(arrivals, hurry)
    assert elapsed() == 6
    assert arrivals.count == 3


async def test_calls_that_never_end_are_waited_for_no_longer_than_the_maximum(clock, hurry, elapsed):
    arrivals = Arrivals(clock)
    for second in range(40):
        asyncio.get_running_loop().call_later(second, arrivals.record)
    assert not await wait_until_quiet(arrivals, hurry)
    assert elapsed() == 20


async def test_hurry_ends_the_wait_at_once(clock, hurry, elapsed):
    asyncio.get_running_loop().call_later(1, hurry.set)
    assert not await wait_until_quiet(Arrivals(clock), hurry)
    assert elapsed() == 1


async def test_in_flight_counts_calls_that_fail_too():
    in_flight = InFlight()

    def fail():
        with in_flight, in_flight:
            assert in_flight.count == 2
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert in_flight.count == 0


async def test_empty_is_empty_at_once(hurry, elapsed):
    assert await InFlight().wait_until_empty(5, hurry)
    assert elapsed() == 0


async def test_the_last_call_to_leave_ends_the_wait(hurry, elapsed):
    in_flight = InFlight()
    for second in (1, 3):
        in_flight.enter()
        asyncio.get_running_loop().call_later(second, in_flight.leave)
    assert await in_flight.wait_until_empty(5, hurry)
    assert elapsed() == 3


async def test_a_call_that_never_ends_is_waited_for_until_the_timeout(hurry, elapsed):
    in_flight = InFlight()
    in_flight.enter()
    assert not await in_flight.wait_until_empty(5, hurry)
    assert elapsed() == 5


async def test_hurry_ends_the_wait_for_calls(hurry, elapsed):
    in_flight = InFlight()
    in_flight.enter()
    asyncio.get_running_loop().call_later(1, hurry.set)
    assert not await in_flight.wait_until_empty(5, hurry)
    assert elapsed() == 1
