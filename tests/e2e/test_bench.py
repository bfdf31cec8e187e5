"""The benchmark runs, as short as possible: its numbers have no meaning here, but it must produce them."""

import json
import sys
from pathlib import Path

import pytest

from lab.bench.targets import TARGETS
from tests.support.programs import succeed

REPOSITORY = Path(__file__).parents[2]
BENCH_SECONDS = 240


@pytest.mark.timeout(BENCH_SECONDS + 60)
async def test_benchmark_measures_every_target_and_finds_in_the_ledgers_what_was_acknowledged(tmp_path, tool):
    tool("ghz")
    command = [sys.executable, "-m", "lab.bench", "--smoke", "--markdown", "--output", tmp_path]
    printed = await succeed(*command, within=BENCH_SECONDS, cwd=REPOSITORY)
    measured = json.loads((tmp_path / "bench.json").read_text())
    assert measured["ratios"].keys() == TARGETS.keys()
    assert all(ratio["value"] > 0 and ratio["target"] > 0 for ratio in measured["ratios"].values())
    assert all(f"| {slug} |" in printed for slug in TARGETS)
    assert measured["broken_promises"] == []
    ledgers = {ledger["sale"]: ledger for ledger in measured["ledgers"]}
    assert ledgers.pop("sales/sold-out")["held"] == 0
    assert all(ledger["held"] == ledger["acknowledged"] > 0 for ledger in ledgers.values())
    assert (tmp_path / "bench.png").stat().st_size > 5000
