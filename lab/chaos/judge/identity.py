"""A key means one thing and has one effect. Promise 3."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lab.chaos.judge.case import Case
from lab.chaos.judge.operations import Key, Operation, numbers
from lab.chaos.judge.verdict import Violation, violation


def violations(case: Case) -> Iterator[Violation]:
    groups: dict[Key, list[Operation]] = defaultdict(list)
    for operation in case.operations:
        if operation.request.get("request_id"):
            groups[operation.key].append(operation)
    for group in groups.values():
        acknowledged = [operation for operation in group if operation.is_ok]
        yield from _meanings(acknowledged)
        yield from _reservations(acknowledged)
        yield from _refusals(group)


def _meanings(acknowledged: Sequence[Operation]) -> Iterator[Violation]:
    """Check that all granted requests with one id have the same meaning: others must be refused."""
    if len({operation.meaning for operation in acknowledged}) > 1:
        yield violation("key-of-two-meanings", f"{_key(acknowledged)} was granted for different requests.")


def _reservations(acknowledged: Sequence[Operation]) -> Iterator[Violation]:
    """Check that all answers name one reservation, with the same customer, lines and create_time."""
    creates = [operation for operation in acknowledged if operation.action == "create"]
    names = {operation.reservation.name for operation in creates}
    if len(names) > 1:
        yield violation("key-of-two-reservations", f"{_key(creates)} got {', '.join(sorted(names))}.")
        return
    facts = {(one.reservation.customer, one.reservation.lines, one.reservation.create_time) for one in creates}
    if len(facts) > 1:
        yield violation("replay-differs", f"{_key(creates)} was answered with different fields of {names.pop()}.")


def _refusals(group: Sequence[Operation]) -> Iterator[Violation]:
    """Check that REQUEST_ID_REUSED has another operation with this id that began before the answer."""
    for operation in group:
        if operation.reason != "REQUEST_ID_REUSED":
            continue
        others = [
            other
            for other in group
            if other.meaning != operation.meaning and not other.is_refused and other.invoked <= operation.completed
        ]
        if not others:
            yield violation("key-refused-wrongly", f"{_key([operation])}: no request used the id with another meaning.")


def _key(operations: Sequence[Operation]) -> str:
    return f"Request id {operations[0].request['request_id']} of {numbers(operations)}"
