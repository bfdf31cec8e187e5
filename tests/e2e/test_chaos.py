"""Half a minute of chaos: many faults at once, and a history without a violation."""

import pytest

from lab.chaos import plans
from lab.chaos.history import read_history, read_ledgers
from lab.chaos.judge import judge
from lab.chaos.report import table
from lab.chaos.run import chaos

pytestmark = pytest.mark.timeout(240)


async def test_half_a_minute_of_chaos_breaks_no_promise(tmp_path):
    """It contains a kill inside COMMIT, an unknown outcome, a replay and a sell-out; without them it would be void."""
    result = await chaos(plans.brief(tmp_path, seed=1))
    assert result.passed, table(result)
    # The recorded run can be judged again.
    again = judge(read_history(tmp_path / "history.jsonl"), read_ledgers(tmp_path / "ledgers.json"))
    assert again.witnessed == result.verdict.witnessed
