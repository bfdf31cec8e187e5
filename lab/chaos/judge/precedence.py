"""Of several reasons against creating a reservation, the first in the contract's order is given. Promise 4.

Only facts that were certainly true during the whole request are judged.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.holds import Timeline
from lab.chaos.judge.hours import Hours
from lab.chaos.judge.operations import CLOCK_SLACK_SECONDS, Key, Operation
from lab.chaos.judge.records import parsed_seconds
from lab.chaos.judge.verdict import Violation, violation

Grants = Mapping[Key, Sequence[Operation]]


@dataclass(frozen=True)
class Refused:
    """A refused create and the facts about it. `stale_seconds`: the maximum age of the state behind its reason."""

    operation: Operation
    book: Book
    hours: Hours
    uses: Mapping[tuple[str, str], Timeline]
    grants: Grants
    stale_seconds: float

    @property
    def granted_before(self) -> list[Operation]:
        """Creates with the same request id that had been acknowledged before."""
        operation = self.operation
        return [one for one in self.grants.get(operation.key, ()) if one.completed < operation.invoked]

    @cached_property
    def span(self) -> tuple[float, float]:
        """The time in which its reason may have been evaluated, by the wall clock."""
        return self.operation.invoked_wall - self.stale_seconds, self.operation.completed_wall

    @property
    def was_never_open(self) -> bool:
        return "OPEN" not in self.hours.between(*self.span)

    @property
    def is_asked_for_too_long(self) -> bool:
        hold_time = self.operation.request.get("hold_time")
        return hold_time is not None and parsed_seconds(hold_time) > self.book.max_hold_seconds

    @property
    def names_no_item(self) -> bool:
        return any(item not in self.book.items for item, _ in self.operation.lines)

    @property
    def was_always_over_a_limit(self) -> bool:
        """Whether the lines exceed a limit; a create with allow_partial may take fewer units."""
        lines = self.operation.lines
        limits = [(self.book.items[item].limit, item, units) for item, units in lines if item in self.book.items]
        limits.append((self.book.limit, "", sum(units for _, units in lines)))
        is_partial = bool(self.operation.request.get("allow_partial"))
        return not is_partial and any(limit and self._least(item) + units > limit for limit, item, units in limits)

    def _least(self, item: str) -> int:
        first, last = self.span
        place = (str(self.operation.request["customer"]), item)
        if place not in self.uses:
            return 0
        return min(self.uses[place].between(first - CLOCK_SLACK_SECONDS, last + CLOCK_SLACK_SECONDS))


Question = tuple[frozenset[str], str, Callable[[Refused], bool]]

_PRECEDENCE: tuple[Question, ...] = (
    (
        frozenset({"REQUEST_ID_REUSED"}),
        "its request id had been granted",
        lambda refused: bool(refused.granted_before),
    ),
    (
        frozenset({"SALE_CLOSED", "SALE_NOT_OPEN", "SALE_PAUSED"}),
        "the sale was not open",
        lambda refused: refused.was_never_open,
    ),
    (
        frozenset({"INVALID_REQUEST"}),
        "it was to be held too long",
        lambda refused: refused.is_asked_for_too_long,
    ),
    (
        frozenset({"NOT_FOUND"}),
        "an item of it does not exist",
        lambda refused: refused.names_no_item,
    ),
    (
        frozenset({"CUSTOMER_LIMIT_REACHED"}),
        "the customer was at the limit",
        lambda refused: refused.was_always_over_a_limit,
    ),
    (frozenset({"INSUFFICIENT_STOCK"}), "", lambda _refused: False),
)
"""The reasons by precedence, each with a check whether it was certainly true during the whole request."""


def grants_of(case: Case) -> Grants:
    """Return the creates that were granted, by their request ids."""
    grants: dict[Key, list[Operation]] = defaultdict(list)
    for operation in case.operations:
        if operation.is_ok and operation.action == "create" and operation.has_key:
            grants[operation.key].append(operation)
    return grants


def violations(refused: Refused) -> Iterator[Violation]:
    told = refused.operation.reason
    rank = next((rank for rank, (reasons, *_) in enumerate(_PRECEDENCE) if told in reasons), 0)
    for _, text, was_so in _PRECEDENCE[:rank]:
        if was_so(refused):
            yield violation("reason-out-of-order", f"Operation {refused.operation.number} got {told}, and {text}.")


def untrue(refused: Refused) -> Iterator[Violation]:
    """Yield INVALID_REQUEST and NOT_FOUND, which do not depend on the time."""
    operation = refused.operation
    questions = {"INVALID_REQUEST": refused.is_asked_for_too_long, "NOT_FOUND": refused.names_no_item}
    if not questions.get(operation.reason, True):
        yield violation("needless-refusal", f"Operation {operation.number} got {operation.reason} without a reason.")
