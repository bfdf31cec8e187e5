"""The event loop on virtual time."""

import asyncio
from random import Random

import pytest

from lab.simulation.loop import BEGINNING_SECONDS, DeadEndError, EndlessError, Process, VirtualTimeLoop, context_of


@pytest.fixture
def make_loop():
    loops = []

    def make(**options):
        loops.append(VirtualTimeLoop(**options))
        return loops[-1]

    yield make
    for loop in loops:
        loop.bury()


@pytest.fixture
def loop(make_loop):
    return make_loop()


def test_waiting_takes_no_time_and_exactly_as_long_as_was_asked_for(loop):
    loop.run_until_complete(asyncio.sleep(86_400))
    assert loop.time() == BEGINNING_SECONDS + 86_400


def test_timers_of_the_same_moment_run_in_the_order_in_which_they_were_set(loop):
    seen = []
    for number in range(5):
        loop.call_later(1, seen.append, number)
    loop.run_until_complete(asyncio.sleep(2))
    assert seen == [0, 1, 2, 3, 4]


def test_a_dead_end_is_reported_with_who_waits(loop):
    async def wait():
        asyncio.current_task().set_name("somebody")
        await loop.create_future()

    with pytest.raises(DeadEndError, match="somebody"):
        loop.run_until_complete(wait())


def test_callbacks_without_end_are_reported(loop):
    runs = True

    def again():
        if runs:
            loop.call_soon(again)

    again()
    with pytest.raises(EndlessError):
        loop.run_until_complete(asyncio.sleep(1))
    runs = False


def test_the_end_of_time_is_reported(loop):
    loop.ends_at = BEGINNING_SECONDS + 10
    with pytest.raises(EndlessError):
        loop.run_until_complete(asyncio.sleep(11))


def test_a_busy_machine_is_late_and_never_early(make_loop):
    loop = make_loop(stalls=Random(1), stall_share=0.5)
    for _ in range(20):
        began = loop.time()
        loop.run_until_complete(asyncio.sleep(1))
        assert loop.time() >= began + 1
    assert loop.time() > BEGINNING_SECONDS + 20


def test_nothing_of_a_killed_process_runs_any_more(loop):
    process, seen = Process("victim"), []

    async def work():
        try:
            await asyncio.sleep(1)
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    loop.create_task(work(), context=context_of(process))
    loop.run_until_complete(asyncio.sleep(0.5))
    loop.kill(process)
    loop.run_until_complete(asyncio.sleep(9))
    assert seen == []


def test_what_a_process_starts_dies_with_it(loop):
    process, seen = Process("victim"), []

    async def parent():
        loop.call_later(1, seen.append, "timer")
        asyncio.create_task(asyncio.sleep(1)).add_done_callback(lambda _: seen.append("task"))

    loop.create_task(parent(), context=context_of(process))
    loop.run_until_complete(asyncio.sleep(0.5))
    loop.kill(process)
    loop.run_until_complete(asyncio.sleep(9))
    assert seen == []
