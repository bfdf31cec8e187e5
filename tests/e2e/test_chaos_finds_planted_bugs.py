"""Chaos is only worth its name if it finds the bugs that it is there for: each is planted, and must be found.

Some need a chance meeting that a busy machine may not bring about in a run of seconds; so they have three.
"""

import pytest

from lab.chaos import plans
from lab.chaos.bugs import BUGS
from lab.chaos.report import table
from lab.chaos.run import chaos

pytestmark = pytest.mark.timeout(300)
SEEDS = (1, 2, 3)


@pytest.mark.parametrize("bug", BUGS)
async def test_a_planted_bug_is_found(tmp_path, bug):
    for seed in SEEDS:
        result = await chaos(plans.planted(tmp_path / str(seed), seed=seed, name=bug))
        if BUGS[bug].found_as & {violation.rule for violation in result.verdict.violations}:
            return
    pytest.fail(table(result))
