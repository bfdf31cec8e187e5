"""What a judgement says, and the rules that it goes by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Rule(NamedTuple):
    """A fact that holds in every honest history. `promise` is its number in the design, section 1."""

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
    "undersold": Rule(5, "When everybody has bought what they could, nothing is left."),
    # lives
    "ended-twice": Rule(3, "A reservation is held and ended once, all its lines alike; expired, it may be sold late."),
    "state-differs": Rule(2, "A reservation's state and lines are what its movements made of it."),
    "expired-early": Rule(2, "A hold does not expire before its time."),
    "ended-after-expiry": Rule(5, "A hold that has run out is not sold or released as if it had not."),
    "hold-outlived": Rule(5, "After the drain no hold is open that has run out."),
    "held-too-long": Rule(5, "No hold lasts longer than the sale's max_hold_time, however often it is extended."),
    # effects
    "acknowledged-lost": Rule(2, "What was acknowledged is in the ledger."),
    "applied-twice": Rule(3, "An operation has its effect once."),
    "fields-differ": Rule(3, "What was acknowledged, what was asked and what is in the ledger are the same."),
    "row-without-operation": Rule(3, "Every movement was asked for by an operation, or by the clock."),
    "refused-but-applied": Rule(3, "What was refused is not in the ledger."),
    "applied-out-of-time": Rule(3, "An operation has its effect between its invocation and its answer."),
    "transfer-torn": Rule(1, "A transfer takes from one sale what it gives to the other."),
    # changes
    "changed-unseen": Rule(4, "Who expects a version of an item changes that one and no later."),
    # hours
    "given-while-closed": Rule(4, "Nothing is given while a sale is paused, closed, cancelled or not yet open."),
    # identity
    "key-of-two-reservations": Rule(3, "A request id belongs to one reservation."),
    "replay-differs": Rule(3, "All answers to one request id are about the same thing, further on in its life."),
    "key-of-two-meanings": Rule(3, "A request id has one meaning."),
    "key-refused-wrongly": Rule(3, "REQUEST_ID_REUSED is said only of an id that was used with another meaning."),
    # order
    "order-reversed": Rule(2, "What was acknowledged before another operation began has the smaller sequence."),
    # limits
    "limit-exceeded": Rule(1, "No customer holds and has bought more than a limit, at any sequence."),
    # reads
    "read-differs": Rule(2, "What is read is what the ledger says of that version."),
    "read-went-back": Rule(2, "Who asks later does not see an earlier state."),
    # refusals
    "stale-refusal": Rule(4, "Short stock was short at most 200 ms before the request came, dead holds not counted."),
    "needless-refusal": Rule(5, "A refusal for a limit, a state or a version was true while the request was there."),
    "reason-out-of-order": Rule(4, "Of several reasons the first by the contract is told; what was granted is none."),
    "internal-error": Rule(8, "Nobody is told INTERNAL."),
    # watches
    "watch-gap": Rule(7, "A watch leaves nothing out, across its resumes."),
    "watch-repeat": Rule(7, "A watch says nothing twice and does not go back, across its resumes."),
    "watch-differs": Rule(7, "What a watch says is what the ledger says."),
    "watch-unfinished": Rule(7, "Every watch arrives at the last movement."),
    # recovery
    "slow-after-healing": Rule(8, "Soon after everything is repaired, latency is normal."),
    "costly-after-healing": Rule(8, "Soon after everything is repaired, an operation takes no more CPU than before."),
    "unavailable-after-healing": Rule(8, "Soon after everything is repaired, every request gets its real answer."),
    "leak": Rule(8, "No connection, task, descriptor or hold is left behind."),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and by which operations or sequences."""

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
    """`witnessed` counts what the run has met; `void_because` says what it should have met and did not."""

    violations: list[Violation]
    witnessed: Mapping[str, int]
    void_because: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations
