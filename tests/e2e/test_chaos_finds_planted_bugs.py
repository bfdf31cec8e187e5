"""Chaos finds the bugs that it is made to find: each one is planted, and must be found.

Some need a coincidence that may not occur on a busy machine in a run of seconds, so there are three attempts.
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
