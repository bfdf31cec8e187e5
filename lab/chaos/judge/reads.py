"""Reads show states that existed, and later reads never show an earlier state. Promise 2.

Every answer counts as a read: an adjustment returns its item, a confirmation its reservation. The time at which a
movement becomes visible is not known, because its commit is later than its time. So a state may be read until an
answer has shown the next one.
"""

from collections import defaultdict
from collections.abc import Iterator

from lab.chaos.judge.case import Case
from lab.chaos.judge.operations import CLOCK_SLACK_SECONDS, RULE_CHANGES, Operation
from lab.chaos.judge.order import Span, effects, reversals
from lab.chaos.judge.records import Item, sale_of
from lab.chaos.judge.verdict import Violation, violation

_ENDINGS = {"CONFIRMED": "CONFIRM", "RELEASED": "RELEASE", "EXPIRED": "EXPIRE"}

_NOT_BEHIND = 2**63
"""The position of something that nothing precedes."""


def violations(case: Case) -> Iterator[Violation]:
    granted = [operation for operation in case.operations if operation.is_ok]
    spans: dict[str, list[Span]] = defaultdict(list)
    for operation in granted:
        yield from _items(case, operation, spans)
        if not operation.items and operation.action not in RULE_CHANGES:
            yield from _reservation(case, operation, spans)
    _add_writers(case, spans)
    for subject, found in spans.items():
        for earlier, later in reversals(found):
            yield violation("read-went-back", f"{subject}: {later.told}, after {earlier.told}.")


def _items(case: Case, operation: Operation, spans: dict[str, list[Span]]) -> Iterator[Violation]:
    """Check that a stock level in an answer is the ledger's at that version."""
    for item in operation.items:
        book = case.books.get(sale_of(item.name))
        log = book.logs.get(item.item) if book else None
        version, level = log.at(item.version) if log else (0, None)
        if (item.version, item.level, item.available) != (version, level, item.level.available):
            ledger = f"the ledger has {level} at {version}"
            yield violation("read-differs", f"Operation {operation.number} read {_told(item)}; {ledger}.")
        else:
            spans[item.name].append(_span(operation, item.version, f"version {item.version}"))


def _reservation(case: Case, operation: Operation, spans: dict[str, list[Span]]) -> Iterator[Violation]:
    """Check that a reservation in an answer has a state that it had; a due hold may be HELD until it is ended."""
    told, life = operation.reservation, case.life(operation.reservation.name)
    kept = case.reservations.get(told.name)
    if kept is None or not life:
        if operation.action == "get_reservation":
            yield violation("acknowledged-lost", f"{told.name} was read by operation {operation.number} and is gone.")
        return
    ending = _ENDINGS.get(told.state)
    reached = [movement for movement in life if movement.kind == ending] if ending else life[:1]
    if not reached or (ending is None and reached[0].kind != "HOLD"):
        yield violation("read-differs", f"Operation {operation.number} read {told.name} as {told.state}; it never was.")
        return
    if reached[0].time > operation.completed_wall + CLOCK_SLACK_SECONDS:
        yield violation("read-differs", f"Operation {operation.number} read {told.name} as {told.state} too early.")
    is_same = (told.customer, told.lines, told.create_time) == (kept.customer, kept.lines, kept.create_time)
    if operation.action == "get_reservation" and not (is_same and told.expire_time <= kept.expire_time):
        yield violation("read-differs", f"Operation {operation.number} read {told}; the ledger has {kept}.")
    spans[told.name].append(_span(operation, reached[-1].sequence, told.state))
    microseconds = round(told.expire_time * 1_000_000)
    spans[f"{told.name}, expire_time"].append(_span(operation, microseconds, f"{told.expire_time:.6f}"))


def _add_writers(case: Case, spans: dict[str, list[Span]]) -> None:
    """Check that no read shows an older version of an item than an earlier answer did. Only for items that are read."""
    for intent, movements in effects(case):
        for sale, movement in movements:
            name = f"{sale}/items/{movement.item}"
            if name in spans:
                for operation in intent.acknowledged:
                    span = _span(operation, movement.sequence, f"movement {movement.sequence}")
                    # The movement of a replay may be old, so it does not show what is read now.
                    spans[name].append(span._replace(first=_NOT_BEHIND))


def _span(operation: Operation, place: int, told: str) -> Span:
    saw = f"operation {operation.number} saw {told}"
    return Span(operation.invoked, operation.completed, place, place, saw)


def _told(item: Item) -> str:
    return f"{item.name} as {item.level}, {item.available} available at version {item.version}"
