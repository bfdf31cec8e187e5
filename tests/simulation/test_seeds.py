"""Seeds of the simulation: new ones in each run, and those that once found a bug."""

import secrets

import pytest

from lab.simulation.run import run

pytestmark = pytest.mark.timeout(240)

FRESH = 250
# lab/simulation/README.md describes what they found.
FOUND = [
    401, 489, 693, 1115, 1139, 1282, 1371, 1408, 25655594445924,
    277770846590095, 12953124917017, 12953124919046, 12953124919624, 12953124919634, 12953124920156, 12953124927063,
    12953124929681, 12953124915973, 12953124917369, 12953124926797, 12953124929957, 12953124925477,
    910001880, 920002531, 920019916, 970003231,
]  # fmt: skip


def test_fresh_seeds_keep_every_promise(drawn):
    base = secrets.randbits(48)
    drawn(f"{FRESH} seeds: python -m lab.simulation --base {base} --seeds {FRESH}")
    for seed in range(base, base + FRESH):
        result = run(seed)
        assert result.passed, result.told()


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_found_something_passes(seed):
    result = run(seed)
    assert result.passed, result.told()
