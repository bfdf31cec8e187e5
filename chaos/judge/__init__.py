"""The judge of the fault checker: what in a history, and in the ledgers that it led to, breaks which promise.

Pure functions: `judge(events, ledgers)` tells the faults by the rules of `RULES`, what was witnessed, and whether the
run is void. A fault is never raised for what the promises allow; what cannot be known is given the benefit.

    python -m chaos.judge HISTORY LEDGERS

judges a recorded run again. Each family of rules is a module: stock, lives, limits, effects, identity, order, reads,
refusals, watches, recovery. Faults that are planted must be found by these rules, any one of each line:

    acknowledge before COMMIT                          acknowledged-lost
    Redis as the truth                                 oversold, stale-refusal, undersold, read-differs
    retry without a key                                row-without-operation, key-of-two-reservations
    synchronous_commit off and a database kill         acknowledged-lost
    replay acknowledged without durability             acknowledged-lost
    confirm racing expiry                              ended-twice, ended-after-expiry, state-differs, expired-early
    a dropped watch event                              watch-gap, watch-unfinished
    a per-customer check outside the lock              limit-exceeded
"""

from collections.abc import Mapping, Sequence

from chaos.history import Event, SaleLedger
from chaos.judge import effects, identity, limits, lives, order, reads, recovery, refusals, stock, watches
from chaos.judge.case import case_of
from chaos.judge.verdict import RULES, Fault, Rule, Verdict
from chaos.judge.witness import void_because, witnessed

__all__ = ["PLANTED", "RULES", "Fault", "Rule", "Verdict", "judge"]

PLANTED: Mapping[str, frozenset[str]] = {
    "acknowledge-before-commit": frozenset({"acknowledged-lost"}),
    "redis-as-the-truth": frozenset({"oversold", "stale-refusal", "undersold", "read-differs"}),
    "retry-without-a-key": frozenset({"row-without-operation", "key-of-two-reservations"}),
    "synchronous-commit-off": frozenset({"acknowledged-lost"}),
    "replay-without-durability": frozenset({"acknowledged-lost"}),
    "confirm-racing-expiry": frozenset({"ended-twice", "ended-after-expiry", "state-differs", "expired-early"}),
    "dropped-watch-event": frozenset({"watch-gap", "watch-unfinished"}),
    "limit-outside-the-lock": frozenset({"limit-exceeded"}),
}
"""For each fault that may be planted, the rules of which one at least must find it."""

_FAMILIES = (stock, lives, limits, effects, identity, order, reads, refusals, watches, recovery)


def judge(events: Sequence[Event], ledgers: Mapping[str, SaleLedger], leaks: Sequence[str] = ()) -> Verdict:
    """Judges a run. `leaks` is what the runner found left behind."""
    case = case_of(events, ledgers, leaks)
    counts = witnessed(case)
    faults = [fault for family in _FAMILIES for fault in family.faults(case)]
    return Verdict(faults, counts, void_because(case, counts))
