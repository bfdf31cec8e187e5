"""Stock is given only while its sale is open, and refusals because of the sale's state are true. Promises 4 and 5.

Staff pause a sale and change its window while customers buy. A rule has the value of the last change. Of concurrent
changes each may be the last, and a change without an answer may be applied later or never. So a rule has a set of
possible values at a time, and only what none of them allows is a violation. The product reads the rules under the
sale's lock, as it reads the stock, so they are never stale.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import NamedTuple

from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.operations import CLOCK_SLACK_SECONDS, Operation
from lab.chaos.judge.records import parsed_time
from lab.chaos.judge.verdict import Violation, violation

LATE_SECONDS = 15.0
"""How long after it was sent a change without an answer may be applied: it may be delayed by a link, then by a frozen
process, and then wait for the sale's lock, some seconds each."""

_STATES = {
    "SALE_NOT_OPEN": {"SCHEDULED"},
    "SALE_CLOSED": {"CLOSED", "CANCELLED"},
    "SALE_PAUSED": {"PAUSED"},
}
"""The state of a sale for each reason of a refusal."""


class Change(NamedTuple):
    """A rule was set between `began` and `ended`, or maybe not at all if not `is_sure`."""

    began: float
    ended: float
    value: float
    is_sure: bool


class Register:
    """A rule and its changes."""

    def __init__(self, first: float, changes: Iterable[Change]) -> None:
        self._first = first
        self._changes = list(changes)

    def between(self, first: float, last: float) -> set[float]:
        """Return all values that it may have had between two times."""
        settled = [change.began for change in self._changes if change.is_sure and change.ended < first]
        # Changes that were over before this one began were overwritten by it.
        latest = max(settled, default=-inf)
        possible = {change.value for change in self._changes if change.began <= last and change.ended >= latest}
        return possible if settled else possible | {self._first}


class Hours:
    """The states that a sale may have had, and when."""

    def __init__(self, book: Book, operations: Iterable[Operation]) -> None:
        changes: dict[str, list[Change]] = defaultdict(list)
        for operation in operations:
            for rule, value in _set_by(operation):
                changes[rule].append(_change(operation, value))
        # A sale whose window is changed is open at its setup.
        opens_at = -inf if changes["open_time"] else book.open_time
        closes_at = inf if changes["close_time"] else book.close_time
        self._cancelled_at = book.cancel_time
        self._opens_at = Register(opens_at, changes["open_time"])
        self._closes_at = Register(closes_at, changes["close_time"])
        self._paused = Register(False, changes["paused"])

    def between(self, first: float, last: float) -> set[str]:
        """Return all states that the sale may have had between two times, each a moment earlier or later."""
        first, last = first - CLOCK_SLACK_SECONDS, last + CLOCK_SLACK_SECONDS
        cancelled = {"CANCELLED"} if self._cancelled_at <= last else set()
        return cancelled | (self._uncancelled(first, last) if first < self._cancelled_at else set())

    def _uncancelled(self, first: float, last: float) -> set[str]:
        """Return the states by precedence: a sale that is closed or not yet open is never reported as paused."""
        opens_at, closes_at = self._opens_at.between(first, last), self._closes_at.between(first, last)
        states = {"CLOSED"} if min(closes_at) <= last else set()
        if max(closes_at) > first:
            states |= {"SCHEDULED"} if max(opens_at) > first else set()
            if min(opens_at) <= last:
                states |= {"PAUSED" if paused else "OPEN" for paused in self._paused.between(first, last)}
        return states


def hours_of(case: Case) -> Mapping[str, Hours]:
    """Return the hours of each sale."""
    operations: dict[str, list[Operation]] = defaultdict(list)
    for operation in case.operations:
        operations[operation.sale].append(operation)
    return {name: Hours(book, operations[name]) for name, book in case.books.items()}


def violations(case: Case) -> Iterator[Violation]:
    for name, hours in hours_of(case).items():
        yield from _given(case.books[name], hours)
        yield from _left(case, case.books[name], hours)


def _given(book: Book, hours: Hours) -> Iterator[Violation]:
    """Check that create_time is when the batch read the clock, by rules that were valid until the commit."""
    for reservation in book.reservations.values():
        states = hours.between(reservation.create_time, reservation.create_time)
        if "OPEN" not in states:
            yield violation("given-while-closed", f"{reservation.name} was created while the sale was {_told(states)}.")


def _left(case: Case, book: Book, hours: Hours) -> Iterator[Violation]:
    """Check that acknowledged changes by staff are in the final state."""
    end = case.phases.get("end") or (case.events[-1] if case.events else None)
    states = hours.between(end.wall, inf) if end else {book.state}
    if book.state not in states:
        yield violation("acknowledged-lost", f"{book.name} is {book.state} in the end, and was made {_told(states)}.")


def untrue(operation: Operation, hours: Hours) -> Iterator[Violation]:
    """Yield refusals for a state that the sale did not have. Only cancelled sales refuse other methods than create."""
    reasons = _STATES[operation.reason] if operation.action == "create" else {"CANCELLED"}
    states = hours.between(operation.invoked_wall, operation.completed_wall)
    if not states & reasons:
        told = f"Operation {operation.number}, {operation.action}, was refused as {operation.reason}"
        yield violation("needless-refusal", f"{told}; the sale was {_told(states)}.")


def _set_by(operation: Operation) -> Iterator[tuple[str, float]]:
    """Return the rules that the operation sets, with their values."""
    if operation.is_refused:
        return
    if operation.action in {"pause", "resume"}:
        yield "paused", operation.action == "pause"
    elif operation.action == "update":
        sale, masked = operation.request["sale"], operation.request["update_mask"].split(",")
        if "openTime" in masked:
            yield "open_time", parsed_time(sale["open_time"])
        if "closeTime" in masked:
            yield "close_time", parsed_time(sale.get("close_time") or "") or inf


def _change(operation: Operation, value: float) -> Change:
    ended = operation.completed_wall if operation.is_ok else operation.invoked_wall + LATE_SECONDS
    return Change(operation.invoked_wall, ended, value, operation.is_ok)


def _told(states: Iterable[str]) -> str:
    return " or ".join(sorted(states))
