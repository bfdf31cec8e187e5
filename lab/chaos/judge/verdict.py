"""The rules of the judge, and its verdict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Rule(NamedTuple):
    """A fact that holds in every history of a correct system. `promise` is the number of the promise that it checks."""

    promise: int
    fact: str


RULES: Mapping[str, Rule] = {
    # stock
    "sequence-gap": Rule(2, "A sale's movements are numbered 1, 2, 3 and so on."),
    "malformed-movement": Rule(1, "A movement changes what its kind changes: units are neither made nor lost."),
    "oversold": Rule(1, "After every movement, 0 <= held <= on_hand and 0 <= sold."),
    "balance-differs": Rule(1, "An item's level is the sum of its movements."),
    "held-differs": Rule(5, "What an item holds is what its open reservations hold."),
    "ledger-unverified": Rule(1, "VerifyLedger finds nothing."),
    "undersold": Rule(5, "When customers have bought until refused, nothing is left."),
    # lives
    "ended-twice": Rule(
        3, "A reservation is held and ended once, with all its lines; an expired one may be sold late."
    ),
    "state-differs": Rule(2, "A reservation's state and lines are the result of its movements."),
    "expired-early": Rule(2, "A hold does not expire before its time."),
    "ended-after-expiry": Rule(5, "A hold that is due is not sold or released as an open one."),
    "hold-outlived": Rule(5, "After the drain no due hold is open."),
    "held-too-long": Rule(5, "No hold lasts longer than the sale's max_hold_time, with all its extensions."),
    # effects
    "acknowledged-lost": Rule(2, "What was acknowledged is in the ledger."),
    "applied-twice": Rule(3, "An operation has its effect once."),
    "fields-differ": Rule(3, "Request, answer and ledger have the same fields."),
    "row-without-operation": Rule(3, "Every movement is caused by an operation, or by the clock."),
    "refused-but-applied": Rule(3, "What was refused is not in the ledger."),
    "applied-out-of-time": Rule(3, "An operation has its effect between its invocation and its answer."),
    "transfer-torn": Rule(1, "A transfer takes the same units from one sale that it gives to the other."),
    # changes
    "changed-unseen": Rule(4, "A change with an expected version is made to exactly that version."),
    # hours
    "given-while-closed": Rule(4, "Nothing is sold while a sale is paused, closed, cancelled or not yet open."),
    # identity
    "key-of-two-reservations": Rule(3, "A request id belongs to one reservation."),
    "replay-differs": Rule(3, "All answers to one request id show the same reservation, in the same or a later state."),
    "key-of-two-meanings": Rule(3, "A request id has one meaning."),
    "key-refused-wrongly": Rule(3, "REQUEST_ID_REUSED is answered only if the id was used with another meaning."),
    # order
    "order-reversed": Rule(2, "An operation that was acknowledged before another began has the smaller sequence."),
    # limits
    "limit-exceeded": Rule(1, "A customer's holds and purchases are within the limits, at any sequence."),
    # reads
    "read-differs": Rule(2, "A read agrees with the ledger at that version."),
    "read-went-back": Rule(2, "A later read does not show an earlier state."),
    # refusals
    "stale-refusal": Rule(4, "Short stock was short at most 200 ms before the request, not counting due holds."),
    "needless-refusal": Rule(5, "A refusal because of a limit, a state or a version was true during the request."),
    "reason-out-of-order": Rule(4, "The first of several reasons is given; a replay of a granted request is granted."),
    "internal-error": Rule(8, "No request is answered with INTERNAL."),
    # watches
    "watch-gap": Rule(7, "A watch has no gap, across its resumes, and a webhook has none."),
    "watch-repeat": Rule(7, "A watch repeats nothing, across its resumes; a webhook repeats whole messages only."),
    "watch-differs": Rule(7, "A watch agrees with the ledger."),
    "watch-unfinished": Rule(7, "Every watch reaches the last movement."),
    # recovery
    "slow-after-healing": Rule(8, "Soon after everything is repaired, latency is normal."),
    "costly-after-healing": Rule(8, "Soon after everything is repaired, operations take no more CPU than before."),
    "unavailable-after-healing": Rule(8, "Soon after everything is repaired, every request gets its real answer."),
    "leak": Rule(8, "No connection, task, descriptor or hold leaks."),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule, with the operations or sequences that broke it."""

    rule: str
    promise: int
    text: str

    def __str__(self) -> str:
        return f"{self.rule} (promise {self.promise}): {self.text}"


def violation(rule: str, text: str) -> Violation:
    """Return a violation of a rule in `RULES`."""
    return Violation(rule, RULES[rule].promise, text)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`witnessed` counts the events that make a run meaningful; `void_because` names those that did not occur."""

    violations: list[Violation]
    witnessed: Mapping[str, int]
    void_because: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations
