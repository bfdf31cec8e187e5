"""The answers of the health board, and how rarely it runs the checks."""

import asyncio

import pytest

from holdfast_chassis.health import Check, HealthBoard


class Probe:
    """A check that waits, counts its calls, and raises a given error."""

    def __init__(self, error=None, seconds=0.0):
        self.error = error
        self.seconds = seconds
        self.calls = 0

    async def __call__(self):
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error


@pytest.fixture
def board(clock):
    return lambda *checks: HealthBoard(checks, clock)


async def test_all_well_is_ready_with_latencies(board):
    report = await board(Check("database", Probe(seconds=0.25), 1)).report()
    (check,) = report.checks
    assert report.ready
    assert (check.name, check.status, check.latency_ms, check.error) == ("database", "pass", 250.0, None)


async def test_a_critical_failure_makes_unready_and_says_why(board):
    report = await board(Check("database", Probe(ConnectionError("refused")), 1)).report()
    assert not report.ready
    assert (report.checks[0].status, report.checks[0].error) == ("fail", "ConnectionError: refused")


async def test_a_failure_that_is_not_critical_leaves_it_ready(board):
    report = await board(Check("redis", Probe(OSError("gone")), 1, critical=False)).report()
    assert report.ready
    assert report.checks[0].status == "fail"


async def test_checks_run_side_by_side_and_no_longer_than_their_timeouts(board, elapsed):
    checks = [Check(name, Probe(seconds=60), 2) for name in ("database", "redis")]
    report = await board(*checks).report()
    assert elapsed() == 2
    assert all(check.error.startswith("TimeoutError") for check in report.checks)


async def test_many_askers_share_one_round(board):
    probe = Probe(seconds=0.5)
    asked = board(Check("database", probe, 1))
    await asyncio.gather(*(asked.report() for _ in range(100)))
    await asked.report()
    assert probe.calls == 1


async def test_results_older_than_a_second_are_renewed(board):
    probe = Probe()
    asked = board(Check("database", probe, 1))
    assert (await asked.report()).ready
    probe.error = OSError("gone")
    await asyncio.sleep(0.9)
    assert (await asked.report()).ready
    await asyncio.sleep(0.1)
    assert not (await asked.report()).ready


async def test_an_asker_who_hangs_up_takes_the_answer_from_nobody(board):
    asked = board(Check("database", Probe(seconds=0.5), 1))
    impatient = asyncio.create_task(asked.report())
    patient = asyncio.create_task(asked.report())
    await asyncio.sleep(0.1)
    impatient.cancel()
    assert (await patient).ready


async def test_without_checks_it_is_ready(board):
    assert (await board().report()).ready
