"""Correct runs pass, with any loss, delay or repetition of messages; and every false history is detected."""

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.property.effort import effort
from tests.unit.chaos.lies import LIES, tale_of
from tests.unit.chaos.programs import Program, Run, programs_of

pytestmark = pytest.mark.timeout(3600)


@effort(0.25)
@given(programs_of(5, 50))
def test_a_correct_run_is_clean(program: Program):
    assert Run(program).stage.verdict().violations == []


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_noticed(name: str):
    tell, rules = LIES[name]

    # Not every lie is possible in every run.
    @settings(effort(0.02), suppress_health_check=list(HealthCheck))
    @given(programs_of(25, 40), st.integers(0, 1000))
    def is_noticed(program: Program, pick: int):
        tale = tale_of(Run(program).stage)
        assume(tell(tale, pick))
        assert tale.rules() & rules

    is_noticed()
