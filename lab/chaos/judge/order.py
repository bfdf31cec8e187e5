"""Real-time order: an operation that ended before another began has the smaller sequence."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import inf
from typing import NamedTuple

from lab.chaos.judge.case import Case
from lab.chaos.judge.operations import Intent
from lab.chaos.judge.records import Movement, sale_of
from lab.chaos.judge.verdict import Violation, violation


class Span(NamedTuple):
    """An event that certainly happened between two times, and its positions `first` to `last` in an order."""

    began: float
    ended: float
    first: int
    last: int
    told: str


def reversals(spans: Iterable[Span]) -> Iterator[tuple[Span, Span]]:
    """Yield each span with a position before one that had ended when it began, with the worst of those. O(n log n)."""
    by_began = sorted(spans, key=lambda span: span.began)
    by_ended = iter(sorted(by_began, key=lambda span: span.ended))
    ended = next(by_ended, None)
    highest: Span | None = None
    for span in by_began:
        while ended is not None and ended.ended < span.began:
            highest = ended if highest is None or ended.last > highest.last else highest
            ended = next(by_ended, None)
        if highest is not None and span.first < highest.last:
            yield highest, span


def violations(case: Case) -> Iterator[Violation]:
    """Check that all sequences are smaller if one operation was acknowledged before another was invoked."""
    spans: dict[str, list[Span]] = defaultdict(list)
    for intent, movements in effects(case):
        by_sale: dict[str, list[int]] = defaultdict(list)
        for sale, movement in movements:
            by_sale[sale].append(movement.sequence)
        for sale, sequences in by_sale.items():
            spans[sale].append(_span(intent, sequences))
    for sale, found in spans.items():
        for earlier, later in reversals(found):
            text = f"{sale}: {earlier.told} was over before {later.told} began."
            yield violation("order-reversed", text)


def _span(intent: Intent, sequences: list[int]) -> Span:
    began = min(operation.invoked for operation in intent.possible)
    ended = min((operation.completed for operation in intent.acknowledged), default=inf)
    low, high = min(sequences), max(sequences)
    return Span(began, ended, low, high, f"{intent.first.action} of {intent.numbers} at {low} to {high}")


def effects(case: Case) -> Iterator[tuple[Intent, list[tuple[str, Movement]]]]:
    """Yield each intent whose movements are certain, with its movements and their sales."""
    for intent in case.intents:
        if intent.possible:
            movements = list(_movements(case, intent))
            if movements:
                yield intent, movements


def _movements(case: Case, intent: Intent) -> Iterator[tuple[str, Movement]]:
    match intent.action:
        case "create" if intent.acknowledged:
            name = intent.acknowledged[0].reservation.name
            life = case.life(name)
            yield from ((sale_of(name), movement) for movement in life if movement.kind == life[0].kind)
        case "confirm" | "release" if intent.acknowledged and intent.first.target in case.reservations:
            name, order = intent.first.target, intent.first.request.get("order", "")
            if intent.action == "confirm" and case.reservations[name].order != order:
                return  # A confirm without an order accepts another's order.
            yield from ((sale_of(name), one) for one in case.life(name) if one.kind == intent.action.upper())
        case "adjust" | "transfer":
            for operation in intent.operations:
                yield from case.by_actor.get(f"op-{operation.number}", ())
