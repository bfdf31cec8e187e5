"""Chaos is only worth its name if it finds the bugs that it is there for: each is planted, and must be found."""

import pytest

from chaos import plans
from chaos.bugs import BUGS
from chaos.report import table
from chaos.run import chaos

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found(tmp_path, bug):
    result = await chaos(plans.planted(tmp_path, seed=1, name=bug))
    broken = {fault.rule for fault in result.verdict.faults}
    assert broken & BUGS[bug].found_as, table(result)
