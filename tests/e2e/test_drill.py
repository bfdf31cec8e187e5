"""A short drill passes, and fails if one of the mechanisms that it tests is missing."""

import pytest

from lab.drill.report import table, write
from lab.drill.run import Plan, drill

pytestmark = pytest.mark.timeout(240)


async def test_no_client_notices_that_inventories_gateways_and_the_edge_are_restarted(tmp_path):
    """First one of each kind; then all inventories and gateways at once, by the same number of new ones."""
    plan = Plan(tmp_path, ("inventories", "gateways", "edge", "blue-green"), brief=True)
    result = await drill(plan)
    assert result.passed, table(result)
    assert all(row.requests > 100 for row in result.rows if row.name in plan.scenarios)
    assert {replica.exit_code for replica in result.replicas} == {0}
    write(result, tmp_path)
    assert (tmp_path / "timeline.png").stat().st_size > 10_000
    assert len((tmp_path / "requests.jsonl").read_text().splitlines()) == len(result.book.entries)


@pytest.mark.parametrize(
    ("fault", "scenarios", "words"),
    [
        ("no-quiet-wait", ("queued", "fresh-connections"), "failed: "),
        ("no-connection-close", ("gateways",), "never became quiet"),
        ("liveness-on-database", ("database-first",), "its liveness probe failed"),
        ("webhooks-never-fail", (), "webhook: a message after "),
    ],
)
async def test_the_drill_finds_a_planted_fault(tmp_path, fault, scenarios, words):
    result = await drill(Plan(tmp_path, scenarios, brief=True, fault=fault))
    assert not result.passed
    assert any(words in found for found in result.faults), table(result)
