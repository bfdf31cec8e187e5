"""The judge of chaos runs: compares a history and the resulting ledgers with the promises.

Pure functions: `judge(events, ledgers)` returns the violations of the rules in `RULES`, what was witnessed, and whether
the run is void. What the promises allow is never reported, and neither is anything that may have been allowed.

    python -m lab.chaos.judge HISTORY LEDGERS

judges a recorded run again. Each family of rules is a module: stock, lives, limits, effects, changes, hours, identity,
order, reads, refusals, watches, recovery. Each planted bug of chaos/bugs.py is found by at least one rule of its
line:

    acknowledge-before-commit    acknowledged-lost
    redis-as-truth               key-of-two-reservations, replay-differs; oversold, stale-refusal, undersold
    retry-without-key            row-without-operation, key-of-two-reservations
    synchronous-commit-off       acknowledged-lost
    replay-without-durability    acknowledged-lost
    confirm-racing-expiry        ended-after-expiry; ended-twice, state-differs, expired-early
    dropped-watch-event          watch-gap, watch-unfinished
    webhook-at-most-once         watch-gap, watch-unfinished
    limit-outside-lock           limit-exceeded
"""

from collections.abc import Mapping, Sequence

from lab.chaos.history import Event, SaleLedger
from lab.chaos.judge import (
    changes,
    effects,
    hours,
    identity,
    limits,
    lives,
    order,
    reads,
    recovery,
    refusals,
    stock,
    watches,
)
from lab.chaos.judge.case import case_of
from lab.chaos.judge.loss import without_what_may_be_lost
from lab.chaos.judge.verdict import RULES, Rule, Verdict, Violation
from lab.chaos.judge.witness import void_because, witnessed

__all__ = ["RULES", "Rule", "Verdict", "Violation", "judge"]

_OF_WHAT_IS_SEEN = (reads, refusals)
_FAMILIES = (stock, lives, limits, effects, changes, hours, identity, order, reads, refusals, watches, recovery)


def judge(events: Sequence[Event], ledgers: Mapping[str, SaleLedger], leaks: Sequence[str] = ()) -> Verdict:
    """Judge a run. `leaks` is what the runner found left behind."""
    case = case_of(events, ledgers, leaks)
    counts = witnessed(case)
    kept = without_what_may_be_lost(case)
    violations = [
        violation
        for family in _FAMILIES
        for violation in family.violations(kept if family in _OF_WHAT_IS_SEEN else case)
    ]
    return Verdict(violations, counts, void_because(case, counts))
