"""Start in order, stop in reverse, even on errors."""

import asyncio
import os
import signal

import pytest
import structlog

from holdfast_chassis import lifecycle as module
from holdfast_chassis.lifecycle import CannotStartError, Lifecycle, Step


async def forever():
    await asyncio.Event().wait()


async def fail():
    raise ConnectionError("refused")


@pytest.fixture
def events(monkeypatch):
    """What the lifecycle logs."""
    with structlog.testing.capture_logs() as entries:
        monkeypatch.setattr(module, "log", structlog.get_logger())
        yield entries


class World:
    """Steps that note what happens to them, and the lifecycle made of them."""

    def __init__(self, clock):
        self.clock = clock
        self.happened = []
        self.phases = []
        self.exits = []
        self.serving = asyncio.Event()

    def step(self, name, start=None, stop=None):
        async def do(what, work):
            self.happened.append(f"{what} {name}")
            if work:
                await work()

        return Step(name, lambda: do("start", start), lambda: do("stop", stop), 10, 5)

    def lifecycle(self, *steps):
        def on_phase(phase):
            self.phases.append(phase)
            if phase == "serving":
                self.serving.set()

        return Lifecycle(steps, on_phase=on_phase, clock=self.clock, exit_now=self.exits.append)


@pytest.fixture
def world(clock, events):
    return World(clock)


def send(number):
    os.kill(os.getpid(), number)


def test_phases_are_as_documented():
    assert module.PHASES == ("starting", "serving", "stopping", "stopped")


async def test_steps_start_in_order_and_stop_in_reverse(world):
    lifecycle = world.lifecycle(world.step("a"), world.step("b"))
    run = asyncio.create_task(lifecycle.run())
    await world.serving.wait()
    assert world.happened == ["start a", "start b"]
    lifecycle.request_stop("done")
    assert await run == 0
    assert world.happened == ["start a", "start b", "stop b", "stop a"]
    assert world.phases == list(module.PHASES)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
async def test_each_of_the_four_signals_stops_in_order(world, events, number):
    run = asyncio.create_task(world.lifecycle(world.step("a")).run())
    await world.serving.wait()
    send(number)
    assert await run == 0
    assert world.happened == ["start a", "stop a"]
    assert {"event": "stop_requested", "reason": number.name, "log_level": "info"} in events


async def test_a_failed_start_stops_only_what_has_started(world, events):
    lifecycle = world.lifecycle(world.step("a"), world.step("b", start=fail), world.step("c"))
    assert await lifecycle.run() == 1
    assert world.happened == ["start a", "start b", "stop a"]
    assert world.phases == ["starting", "stopping", "stopped"]
    assert [entry["event"] for entry in events if entry["log_level"] == "error"] == ["step_start_failed"]


async def test_a_start_that_hangs_fails_in_time(world, elapsed):
    assert await world.lifecycle(world.step("a"), world.step("b", start=forever)).run() == 1
    assert elapsed() == 10
    assert world.happened == ["start a", "start b", "stop a"]


async def test_a_signal_before_ready_aborts_the_start_and_unwinds(world, elapsed):
    lifecycle = world.lifecycle(world.step("a"), world.step("b", start=forever), world.step("c"))
    asyncio.get_running_loop().call_later(3, send, signal.SIGTERM)
    assert await lifecycle.run() == 0
    assert elapsed() == 3
    assert world.happened == ["start a", "start b", "stop a"]
    assert "serving" not in world.phases


async def test_a_start_that_completes_in_spite_of_the_signal_is_stopped(world):
    async def completes():
        try:
            await forever()
        except asyncio.CancelledError:
            return

    lifecycle = world.lifecycle(world.step("a", start=completes), world.step("b"))
    asyncio.get_running_loop().call_later(3, send, signal.SIGTERM)
    assert await lifecycle.run() == 0
    assert world.happened == ["start a", "stop a"]


@pytest.mark.parametrize("trouble", [fail, forever])
async def test_a_stop_that_fails_or_hangs_does_not_keep_the_others_from_stopping(world, events, trouble):
    lifecycle = world.lifecycle(world.step("a"), world.step("b", stop=trouble), world.step("c"))
    run = asyncio.create_task(lifecycle.run())
    await world.serving.wait()
    lifecycle.request_stop("done")
    assert await run == 1
    assert world.happened[3:] == ["stop c", "stop b", "stop a"]
    (failure,) = (entry for entry in events if entry["event"] == "step_stop_failed")
    assert failure["step"] == "b"
    assert failure["seconds"] == (5 if trouble is forever else 0)


async def test_every_step_is_logged_with_its_duration(world, events):
    lifecycle = world.lifecycle(world.step("a", lambda: asyncio.sleep(1), lambda: asyncio.sleep(2)))
    await lifecycle.start()
    await lifecycle.stop()
    durations = {entry["event"]: entry["seconds"] for entry in events if "seconds" in entry}
    assert durations == {"step_started": 1, "step_stopped": 2}


async def test_a_second_signal_hurries(world):
    async def until_hurried():
        await lifecycle.hurry.wait()

    lifecycle = world.lifecycle(world.step("a", stop=until_hurried))
    run = asyncio.create_task(lifecycle.run())
    await world.serving.wait()
    send(signal.SIGTERM)
    await asyncio.sleep(1)
    assert world.happened == ["start a", "stop a"]
    assert not lifecycle.hurry.is_set()
    send(signal.SIGTERM)
    assert await run == 0
    assert world.exits == []


async def test_a_third_signal_exits_at_once(world):
    lifecycle = world.lifecycle(world.step("a", stop=forever))
    run = asyncio.create_task(lifecycle.run())
    await world.serving.wait()
    for exits in ([], [], [130]):
        send(signal.SIGINT)
        await asyncio.sleep(1)
        assert world.exits == exits
    await run


async def test_stopping_when_never_started_or_again_does_nothing(world):
    lifecycle = world.lifecycle(world.step("a"))
    await lifecycle.stop()
    assert world.happened == []
    assert await lifecycle.start()
    await asyncio.gather(lifecycle.stop(), lifecycle.stop())
    await lifecycle.stop()
    assert world.happened == ["start a", "stop a"]


async def test_a_stop_asked_for_because_something_failed_exits_with_1(world, events):
    lifecycle = world.lifecycle(world.step("a"))
    run = asyncio.create_task(lifecycle.run())
    await world.serving.wait()
    lifecycle.request_stop("the sweeper died", failed=True)
    lifecycle.request_stop("again")
    assert await run == 1
    assert [entry["reason"] for entry in events if entry["event"] == "stop_requested"] == ["the sweeper died"]


async def test_a_cancelled_run_still_stops_what_has_started(world):
    run = asyncio.create_task(world.lifecycle(world.step("a")).run())
    await world.serving.wait()
    run.cancel()
    await asyncio.wait([run])
    assert world.happened == ["start a", "stop a"]


async def test_signal_handlers_are_gone_afterwards(world):
    before = signal.getsignal(signal.SIGTERM)
    lifecycle = world.lifecycle()
    lifecycle.request_stop("at once")
    assert await lifecycle.run() == 0
    assert signal.getsignal(signal.SIGTERM) == before


async def test_what_a_person_can_mend_is_reported_in_its_own_words_and_without_a_traceback(world, events):
    async def refuse():
        raise CannotStartError("turn fsync on")

    lifecycle = world.lifecycle(world.step("database", refuse))
    assert await lifecycle.run() == 1
    [failed] = [event for event in events if event["event"] == "step_start_failed"]
    assert failed["error"] == "turn fsync on"
    assert "exc_info" not in failed
