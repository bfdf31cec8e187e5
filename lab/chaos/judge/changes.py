"""Adjustments and transfers happen exactly once: one row for each adjustment, two for each transfer. Promises 2, 3."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lab.chaos.judge.case import Book, Case
from lab.chaos.judge.effects import out_of_time
from lab.chaos.judge.operations import Intent, Key, Operation
from lab.chaos.judge.records import Movement, sale_of
from lab.chaos.judge.verdict import Violation, violation


class _Row(NamedTuple):
    """A movement of an adjustment or a transfer, and its sale."""

    book: Book
    movement: Movement

    def __str__(self) -> str:
        return f"{self.book.name}, sequence {self.movement.sequence}"


def violations(case: Case) -> Iterator[Violation]:
    rows: dict[Key, list[_Row]] = defaultdict(list)
    for book in case.books.values():
        for movement in book.movements:
            if movement.kind not in {"ADJUST", "TRANSFER"} or _is_first_stock(book, movement):
                continue
            operation = _actor(case, movement)
            if operation is None:
                row = _Row(book, movement)
                yield violation(
                    "row-without-operation", f"{row}: {movement.kind} by {movement.actor!r}, who is unknown."
                )
            else:
                rows[operation.key, operation.meaning].append(_Row(book, movement))
    for intent in case.intents_of("adjust", "transfer"):
        found = rows[intent.first.key, intent.first.meaning]
        yield from _change(intent, found)
        yield from _of_another_version(intent, found)


def _is_first_stock(book: Book, movement: Movement) -> bool:
    """Return whether the movement belongs to the setup of its sale, before the history begins."""
    is_first = book.logs[movement.item].sequences[0] == movement.sequence
    return is_first and movement.kind == "ADJUST" and movement.reason == "RECEIVED" and movement.actor == ""


def _actor(case: Case, movement: Movement) -> Operation | None:
    """Return the operation that caused the movement: the actor contains its key."""
    number = movement.actor.removeprefix("op-")
    operation = case.by_number.get(int(number)) if number.isdecimal() else None
    return operation if operation and operation.action.upper() == movement.kind else None


def _change(intent: Intent, rows: Sequence[_Row]) -> Iterator[Violation]:
    """Check that an adjustment has one row and a transfer one per sale; all or none, and once if acknowledged."""
    expected = Counter(_expected(intent.first))
    found = Counter((row.book.name, row.movement.item, row.movement.on_hand) for row in rows)
    told = ", ".join(map(str, rows)) or "no row"
    if intent.acknowledged and not rows:
        yield violation(
            "acknowledged-lost", f"The {intent.action} of {intent.numbers} was acknowledged and has no row."
        )
    elif rows and not intent.possible:
        yield violation("refused-but-applied", f"The {intent.action} of {intent.numbers} was refused, and has {told}.")
    elif rows and found != expected:
        lacking, more = expected - found, found - expected
        if more and not lacking:
            yield violation("applied-twice", f"The {intent.action} of {intent.numbers} has {told}.")
        elif lacking and not more:
            yield violation("transfer-torn", f"The transfer of {intent.numbers} has only {told}.")
        else:
            yield violation("fields-differ", f"The {intent.action} of {intent.numbers} asked otherwise than {told}.")
    else:
        yield from out_of_time(intent, [row.movement for row in rows])


def _of_another_version(intent: Intent, rows: Sequence[_Row]) -> Iterator[Violation]:
    """Check that a change with an expected version was made to exactly that version."""
    expected = intent.first.expected_version
    for book, movement in rows:
        version, _ = book.logs[movement.item].at(movement.sequence - 1)
        if expected not in {None, version}:
            told = f"{book.name}, sequence {movement.sequence}, of {intent.numbers}"
            yield violation("changed-unseen", f"{told}: expected was version {expected}, and it was {version}.")


def _expected(operation: Operation) -> Iterator[tuple[str, str, int]]:
    """Return sale, item and change of each row."""
    request = operation.request
    if operation.action == "adjust":
        yield operation.sale, _item(request["name"]), request["delta"]
    else:
        for name, sign in (("source", -1), ("destination", 1)):
            yield sale_of(request[name]), _item(request[name]), sign * request["quantity"]


def _item(name: str) -> str:
    return name.rpartition("/")[2]
