"""A history and the resulting ledgers, parsed once for all rules."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

from lab.chaos.history import Event, Kind, SaleLedger, completions
from lab.chaos.judge.operations import Intent, Key, Operation
from lab.chaos.judge.records import (
    Item,
    Level,
    Movement,
    Reservation,
    parsed_item,
    parsed_movement,
    parsed_reservation,
    parsed_seconds,
    parsed_time,
    sale_of,
)


@dataclass(frozen=True)
class ItemLog:
    """One item's movements, and its level after each of them."""

    movements: list[Movement] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)

    def append(self, movement: Movement) -> None:
        self.movements.append(movement)
        self.sequences.append(movement.sequence)
        self.levels.append(self.last.moved(movement))

    @property
    def last(self) -> Level:
        return self.levels[-1] if self.levels else Level()

    def at(self, sequence: int) -> tuple[int, Level]:
        """Return the version and the level after the sale's movement `sequence`."""
        known = bisect_right(self.sequences, sequence)
        return (self.sequences[known - 1], self.levels[known - 1]) if known else (0, Level())


@dataclass(frozen=True)
class Book:
    """A sale at the end of the run, with its movements. `lives` has each reservation's movements.

    `close_time` and `cancel_time` are infinity when there is none.
    """

    name: str
    limit: int
    state: str
    open_time: float
    close_time: float
    cancel_time: float
    max_hold_seconds: float
    sequence: int
    items: Mapping[str, Item]
    reservations: Mapping[str, Reservation]
    movements: Sequence[Movement]
    discrepancies: Sequence[Any]
    is_verified: bool

    @property
    def is_cancelled(self) -> bool:
        return self.cancel_time < inf

    def latest_end(self, reservation: Reservation) -> float:
        """Return the latest time until which it may be held, with all its extensions."""
        return round(reservation.create_time + self.max_hold_seconds, 6)

    @cached_property
    def logs(self) -> Mapping[str, ItemLog]:
        logs: dict[str, ItemLog] = {item: ItemLog() for item in self.items}
        for movement in self.movements:
            logs.setdefault(movement.item, ItemLog()).append(movement)
        return logs

    @cached_property
    def lives(self) -> Mapping[str, list[Movement]]:
        lives: dict[str, list[Movement]] = defaultdict(list)
        for movement in self.movements:
            if movement.reservation:
                lives[movement.reservation].append(movement)
        return lives

    @cached_property
    def by_sequence(self) -> Mapping[int, Movement]:
        return {movement.sequence: movement for movement in self.movements}


def _book(name: str, ledger: SaleLedger) -> Book:
    items = map(parsed_item, ledger.items)
    reservations = map(parsed_reservation, ledger.reservations)
    return Book(
        name=name,
        limit=ledger.sale.get("per_customer_limit", 0),
        state=ledger.sale["state"],
        open_time=parsed_time(ledger.sale["open_time"]),
        close_time=parsed_time(ledger.sale.get("close_time") or "") or inf,
        cancel_time=parsed_time(ledger.sale.get("cancel_time") or "") or inf,
        max_hold_seconds=parsed_seconds(ledger.sale["max_hold_time"]),
        sequence=int(ledger.sale.get("sequence", 0)),
        items={item.item: item for item in items},
        reservations={reservation.name: reservation for reservation in reservations},
        movements=sorted(map(parsed_movement, ledger.movements), key=lambda movement: movement.sequence),
        discrepancies=ledger.verified.get("discrepancies", ()),
        is_verified=ledger.verified.get("consistent", False),
    )


@dataclass(frozen=True)
class Case:
    """The history and the ledgers of a run."""

    events: Sequence[Event]
    books: Mapping[str, Book]
    leaks: Sequence[str] = ()

    @cached_property
    def phases(self) -> Mapping[str, Event]:
        """When each phase of the run began, by its name."""
        return {event.action: event for event in self.events if event.kind is Kind.PHASE}

    @cached_property
    def operations(self) -> Sequence[Operation]:
        """In the order of their invocations."""
        starts = sorted((event.at, name) for name, event in self.phases.items())
        begins = [at for at, _ in starts]

        def phase(at: float) -> str:
            known = bisect_right(begins, at)
            return starts[known - 1][1] if known else ""

        pairs = completions(self.events).values()
        return [_operation(invoked, completed, phase(invoked.at)) for invoked, completed in pairs]

    @cached_property
    def by_number(self) -> Mapping[int, Operation]:
        return {operation.number: operation for operation in self.operations}

    @cached_property
    def intents(self) -> Sequence[Intent]:
        groups: dict[Key, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if not operation.action.startswith("get_"):
                groups[operation.key, operation.meaning].append(operation)
        return [Intent(tuple(operations)) for operations in groups.values()]

    def intents_of(self, *actions: str) -> Iterable[Intent]:
        return (intent for intent in self.intents if intent.action in actions)

    @cached_property
    def reservations(self) -> Mapping[str, Reservation]:
        """Of all sales."""
        return {name: found for book in self.books.values() for name, found in book.reservations.items()}

    @cached_property
    def by_actor(self) -> Mapping[str, Sequence[tuple[str, Movement]]]:
        """The actors of stock changes, with the sales that they changed."""
        found: dict[str, list[tuple[str, Movement]]] = defaultdict(list)
        for book in self.books.values():
            for movement in book.movements:
                if movement.actor:
                    found[movement.actor].append((book.name, movement))
        return found

    def life(self, reservation: str) -> Sequence[Movement]:
        """Return the movements of a reservation."""
        book = self.books.get(sale_of(reservation))
        return book.lives.get(reservation, ()) if book else ()


def _operation(invoked: Event, completed: Event | None, phase: str) -> Operation:
    asked = Operation(
        invoked.operation, invoked.client, invoked.action, invoked.request, invoked.at, invoked.wall, phase=phase
    )
    if completed is None:
        return asked
    return replace(
        asked,
        completed=completed.at,
        completed_wall=completed.wall,
        outcome=completed.kind,
        answer=completed.answer,
        replayed=completed.replayed,
        reason=completed.reason,
    )


def case_of(events: Sequence[Event], ledgers: Mapping[str, SaleLedger], leaks: Sequence[str] = ()) -> Case:
    """Parse everything."""
    return Case(events, {name: _book(name, ledger) for name, ledger in ledgers.items()}, leaks)
