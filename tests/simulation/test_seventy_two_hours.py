"""Seventy-two hours of hourly sales: from some start minutes here, from all of them by `make simulate`."""

import secrets

import pytest

from holdfast_inventory.background.schedules import Scheduler
from holdfast_inventory.domain.schedule import Remainder
from lab.simulation.seventy_two_hours import Course, run_course

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("remainder", Remainder)
def test_each_hour_has_its_sale_and_every_unit_sells(drawn, remainder):
    seed = secrets.randbits(48)
    course = Course(seed, (seed % 60, seed // 60 % 60), remainder)
    drawn(f"seventy-two hours: {course}")
    verdict = run_course(course)
    assert verdict.passed, verdict.told()


def test_a_course_gives_the_same_trace_twice():
    course = Course(7, (59, 0), Remainder.STAY)
    assert run_course(course, hours=12).digest == run_course(course, hours=12).digest


def test_a_scheduler_that_drifts_is_found(monkeypatch):
    """It creates each sale late, at the first interval after its opening."""
    real = Scheduler._attend_to

    async def attend_to(self, schedule, openings):
        now = await self._catalog.database_now()
        await real(self, schedule, [opening for opening in openings if opening.open_at <= now])

    monkeypatch.setattr(Scheduler, "_attend_to", attend_to)
    verdict = run_course(Course(7, (59, 0), Remainder.STAY), hours=12)
    assert any("too late" in fault for fault in verdict.faults), verdict.told()


def test_work_that_grows_is_found(monkeypatch):
    """Its queries become more with time."""
    real, rounds = Scheduler._attend_to_all, []

    async def attend_to_all(self):
        rounds.append(None)
        for _ in range(len(rounds) // 200):
            await self._catalog.database_now()
        return await real(self)

    monkeypatch.setattr(Scheduler, "_attend_to_all", attend_to_all)
    verdict = run_course(Course(7, (59, 0), Remainder.STAY), hours=24)
    assert any("statements at first" in fault for fault in verdict.faults), verdict.told()
