"""The benchmark runs, as short as can be: measurements mean nothing here, but there must be some."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.programs import succeed

REPOSITORY = Path(__file__).parents[2]
BENCH_SECONDS = 240


@pytest.mark.timeout(BENCH_SECONDS + 60)
async def test_benchmark_measures_and_writes_json_and_a_plot(tmp_path, tool):
    tool("ghz")
    command = [sys.executable, "-m", "lab.bench", "--smoke", "--output", tmp_path]
    printed = await succeed(*command, within=BENCH_SECONDS, cwd=REPOSITORY)
    assert str(tmp_path) in printed
    [measured] = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert measured
    plots = [path for path in tmp_path.iterdir() if path.suffix in (".png", ".svg")]
    assert plots
    assert all(path.stat().st_size > 5000 for path in plots)
