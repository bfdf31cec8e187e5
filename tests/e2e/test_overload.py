"""Far more load than can be served, in short: what must be true on any machine."""

import os
from dataclasses import replace

import pytest

from lab.overload.report import table, write
from lab.overload.run import Plan, overload
from lab.overload.verdict import faults

pytestmark = pytest.mark.timeout(240)

# So few places that all of them are used on any machine.
BRIEF = Plan(seconds=1.5, multiples=(0.5, 10.0), callers=(32,), request_limit=16, greed=4.0)


@pytest.fixture
def whole_machine():
    """Limit the run and its processes to one core, and restore the cores at the end."""
    cores = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
async def test_every_request_has_an_answer_and_those_that_end_a_purchase_go_first(tmp_path, whole_machine, transport):
    result = await overload(replace(BRIEF, transports=(transport,)))
    assert faults(result) == [], table(result)
    most = result.step(transport, 10.0).tally
    # Far too much load: most creates were refused, each with a retry delay, and not all with the same.
    assert most.share_accepted("create") < 1.0, table(result)
    assert set(most.delays) >= {1.0, 2.0, 3.0}, table(result)
    assert most.outcomes["create", "OK"] > 0
    # Then it recovered.
    after = next(step for step in result.steps if step.name == "after").tally
    assert after.outcomes["create", "OK"] > 0
    write(result, tmp_path)
    assert (tmp_path / "overload.png").stat().st_size > 10_000
    assert (tmp_path / "overload.json").stat().st_size > 1_000
