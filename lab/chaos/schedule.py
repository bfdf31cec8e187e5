"""The times and targets of faults: a pure function of the seed. Faults overlap, with healthy moments in between."""

import random
from typing import NamedTuple

from lab.chaos.faults import FAULTS

_ROUND_SECONDS = 7.0
_STRIKES_WITHIN_SECONDS = 4.0
_STRIKES_PER_ROUND = 4


class Injection(NamedTuple):
    """One fault of a schedule. `at` is seconds since the beginning of the phase with faults."""

    at: float
    seconds: float
    fault: str
    target: str


def schedule(seed, topology, seconds, faults):
    """Return rounds of faults, each with every fault once, so that all occur in a run that is long enough."""
    chance = random.Random(f"{seed} schedule")
    injections, deck = [], []
    for number in range(max(1, int(seconds / _ROUND_SECONDS))):
        for _ in range(min(_STRIKES_PER_ROUND, len(faults))):
            if not deck:
                deck = list(faults)
                chance.shuffle(deck)
            at = number * _ROUND_SECONDS + chance.uniform(0, _STRIKES_WITHIN_SECONDS)
            injections.append(injection(chance, at, deck.pop(), topology))
    return sorted(injections)


def injection(chance, at, name, topology):
    """Return an occurrence of a fault, with a random target and duration."""
    fault = FAULTS[name]
    return Injection(at, chance.uniform(*fault.seconds), name, chance.choice(fault.targets(topology)))


# A run of half a minute: the faults that each kind of promise needs at least.
_BRIEF = (
    (0.5, "kill-in-commit"),
    (1.5, "swallow-answers"),
    (2.5, "garble-valkey"),
    (3.0, "lose-in-commit"),
    (3.5, "kill-primary"),
    (5.5, "kill-in-commit"),
    (6.5, "promote-standby"),
    (8.0, "kill"),
    (9.0, "jump-clock"),
    (10.0, "freeze-after-read"),
    (11.0, "kill-in-commit"),
    (11.5, "rolling-restart"),
    (12.0, "flush-valkey"),
    (13.0, "terminate-backends"),
)


def brief_schedule(seed, topology):
    """Return the same faults at the same times for every seed. The seed chooses their targets."""
    chance = random.Random(f"{seed} schedule")
    return [injection(chance, at, name, topology) for at, name in _BRIEF]
