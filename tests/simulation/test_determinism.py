"""The same seed is the same run: twice, and in processes that hash strings differently."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.simulation.run import run

ROOT = Path(__file__).parents[2]
SEEDS = range(40, 52)
TELL = "from lab.simulation.run import run; print(*(run(seed).digest for seed in range({0.start}, {0.stop})))"


def test_a_seed_gives_the_same_trace_twice():
    assert [run(seed).digest for seed in SEEDS] == [run(seed).digest for seed in SEEDS]


def test_different_seeds_give_different_traces():
    assert len({run(seed).digest for seed in SEEDS}) == len(SEEDS)


def test_keeping_every_line_changes_nothing():
    assert run(SEEDS[0], keep_all=True).digest == run(SEEDS[0]).digest


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_hashes_of_strings_do_not_matter(hash_seed):
    told = subprocess.run(
        [sys.executable, "-c", TELL.format(SEEDS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [run(seed).digest for seed in SEEDS]


def test_a_result_tells_how_to_run_its_seed_again():
    result = run(SEEDS[0])
    result.faults.append("planted")
    assert f"python -m lab.simulation --seed {SEEDS[0]}" in result.told()
    assert result.lines[-1] in result.told()
