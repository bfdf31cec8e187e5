"""A history and the ledgers that it led to, parsed once into tidy records. All times are Unix seconds.

`at` and `wall` are those of the history: seconds since the run began, and the clock that the database has as well.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

from chaos.history import Event, Kind, SaleLedger, completions

CLOCK_SLACK_SECONDS = 0.05
"""Between a process's reading of the clock and the moment that it stands for. The database and the runner read the
same clock, so this is for the scheduler, and for the milliseconds to which a transport may round."""

Lines = tuple[tuple[str, int], ...]


class Level(NamedTuple):
    """An item's units."""

    on_hand: int = 0
    held: int = 0
    sold: int = 0

    @property
    def available(self) -> int:
        return self.on_hand - self.held

    def moved(self, movement: "Movement") -> "Level":
        return Level(self.on_hand + movement.on_hand, self.held + movement.held, self.sold + movement.sold)


class Movement(NamedTuple):
    """`on_hand`, `held` and `sold` are changes; `time` is when its batch read the clock."""

    sequence: int
    kind: str
    item: str
    on_hand: int
    held: int
    sold: int
    reservation: str
    reason: str
    actor: str
    time: float


class Item(NamedTuple):
    name: str
    item: str
    level: Level
    available: int
    limit: int
    version: int


class Reservation(NamedTuple):
    """`end_time` is 0 while it is open."""

    name: str
    customer: str
    lines: Lines
    state: str
    create_time: float
    expire_time: float
    end_time: float
    order: str


def parsed_time(text: str) -> float:
    """0 for a time that is not set."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def merged(lines: Iterable[Mapping[str, Any]]) -> Lines:
    """One line for each item, by item."""
    units: dict[str, int] = defaultdict(int)
    for line in lines:
        units[line["item"]] += line.get("quantity", 0)
    return tuple(sorted(units.items()))


def parsed_movement(message: Mapping[str, Any]) -> Movement:
    return Movement(
        int(message["sequence"]),
        message["kind"],
        message["item"],
        message.get("on_hand_delta", 0),
        message.get("held_delta", 0),
        message.get("sold_delta", 0),
        message.get("reservation", ""),
        message.get("reason", ""),
        message.get("actor", ""),
        parsed_time(message["create_time"]),
    )


def parsed_item(message: Mapping[str, Any]) -> Item:
    level = Level(message.get("on_hand", 0), message.get("held", 0), message.get("sold", 0))
    name = message.get("name", "")
    return Item(
        name,
        message.get("item") or name.rpartition("/")[2],
        level,
        message.get("available", 0),
        message.get("per_customer_limit", 0),
        int(message.get("version", 0)),
    )


def parsed_reservation(message: Mapping[str, Any]) -> Reservation:
    return Reservation(
        message["name"],
        message.get("customer", ""),
        merged(message.get("lines", ())),
        message.get("state", ""),
        parsed_time(message.get("create_time") or ""),
        parsed_time(message.get("expire_time") or ""),
        parsed_time(message.get("end_time") or ""),
        message.get("order", ""),
    )


def sale_of(name: str) -> str:
    """`sales/a` of anything that is in it."""
    return "/".join(name.split("/")[:2])


@dataclass(frozen=True)
class Operation:
    """An invocation and what became of it. Without an answer it ended never: `completed` is infinity."""

    number: int
    client: str
    action: str
    request: Mapping[str, Any]
    invoked: float
    invoked_wall: float
    completed: float = inf
    completed_wall: float = inf
    outcome: Kind = Kind.INFO
    answer: Mapping[str, Any] = field(default_factory=dict)
    replayed: bool = False
    reason: str = ""
    phase: str = ""

    @property
    def is_ok(self) -> bool:
        return self.outcome is Kind.OK

    @property
    def is_refused(self) -> bool:
        return self.outcome is Kind.FAIL

    @property
    def is_unknown(self) -> bool:
        return self.outcome is Kind.INFO

    @cached_property
    def target(self) -> str:
        """The sale, item or reservation that it is about; of a transfer, the source."""
        return self.request.get("parent") or self.request.get("source") or self.request["name"]

    @property
    def sale(self) -> str:
        return sale_of(self.target)

    @cached_property
    def lines(self) -> Lines:
        """What a create asks for."""
        return merged(self.request.get("lines", ()))

    @cached_property
    def reservation(self) -> Reservation:
        """What the answer says, of an operation on reservations."""
        return parsed_reservation(self.answer)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The stock levels that the answer tells."""
        if self.action in {"get_item", "adjust"}:
            return (parsed_item(self.answer),)
        if self.action == "transfer":
            return parsed_item(self.answer["source"]), parsed_item(self.answer["destination"])
        return ()

    @cached_property
    def key(self) -> tuple:
        """What makes it happen once: operations with one key are one."""
        request = self.request
        match self.action:
            case "create" if request.get("request_id"):
                return "create", self.sale, request["customer"], request["request_id"]
            case "adjust" | "transfer" if request.get("request_id"):
                return "stock", self.sale, request["request_id"]
            case "confirm":
                return "confirm", self.target, request.get("order", "")
            case "release":
                return "release", self.target
            case "extend":
                return "extend", self.target, request["expire_time"]
        return self.action, self.number

    @property
    def has_key(self) -> bool:
        """Whether it can be sent again."""
        return self.key != (self.action, self.number)

    @cached_property
    def meaning(self) -> tuple:
        """What must be equal for the key to be the same request."""
        ask = self.request.get
        match self.action:
            case "create":
                flags = bool(ask("allow_partial")), bool(ask("confirm")), ask("order") or ""
                return ("create", self.lines, _seconds(ask("hold_time")), *flags)
            case "adjust":
                version = ask("expected_version")
                return "adjust", self.target, ask("delta"), ask("reason"), None if version is None else int(version)
            case "transfer":
                return "transfer", self.target, ask("destination"), ask("quantity")
        return (self.action,)


def _seconds(duration: str | None) -> float | None:
    return float(duration.rstrip("s")) if duration else None


@dataclass(frozen=True)
class Intent:
    """What somebody wanted to happen once: all operations of one key and one meaning."""

    operations: tuple[Operation, ...]

    @property
    def first(self) -> Operation:
        return self.operations[0]

    @property
    def action(self) -> str:
        return self.first.action

    @cached_property
    def acknowledged(self) -> tuple[Operation, ...]:
        return tuple(operation for operation in self.operations if operation.is_ok)

    @cached_property
    def possible(self) -> tuple[Operation, ...]:
        """Those that may have done it: all that were not refused."""
        return tuple(operation for operation in self.operations if not operation.is_refused)

    @cached_property
    def numbers(self) -> str:
        return numbers(self.operations)


def numbers(operations: Iterable[Operation]) -> str:
    """How a fault names operations."""
    found = [str(operation.number) for operation in operations]
    return f"operation{'s' if len(found) > 1 else ''} {', '.join(found)}"


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
        """The version and the level after the sale's movement `sequence`."""
        known = bisect_right(self.sequences, sequence)
        return (self.sequences[known - 1], self.levels[known - 1]) if known else (0, Level())


@dataclass(frozen=True)
class Book:
    """A sale at the end, and how it came there. `lives` has each reservation's movements."""

    name: str
    limit: int
    is_cancelled: bool
    sequence: int
    items: Mapping[str, Item]
    reservations: Mapping[str, Reservation]
    movements: Sequence[Movement]
    discrepancies: Sequence[Any]
    is_verified: bool

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
        is_cancelled=bool(ledger.sale.get("cancel_time")),
        sequence=int(ledger.sale.get("sequence", 0)),
        items={item.item: item for item in items},
        reservations={reservation.name: reservation for reservation in reservations},
        movements=sorted(map(parsed_movement, ledger.movements), key=lambda movement: movement.sequence),
        discrepancies=ledger.verified.get("discrepancies", ()),
        is_verified=ledger.verified.get("consistent", False),
    )


@dataclass(frozen=True)
class Case:
    """All that is known."""

    events: Sequence[Event]
    books: Mapping[str, Book]
    leaks: Sequence[str] = ()

    @cached_property
    def phases(self) -> Mapping[str, Event]:
        """When each part of the run began, by its name."""
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
        groups: dict[tuple, list[Operation]] = defaultdict(list)
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
        """Who moved stock by hand, with the sales in which it moved."""
        found: dict[str, list[tuple[str, Movement]]] = defaultdict(list)
        for book in self.books.values():
            for movement in book.movements:
                if movement.actor:
                    found[movement.actor].append((book.name, movement))
        return found

    def life(self, reservation: str) -> Sequence[Movement]:
        """The movements of a reservation."""
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
    """Parses everything."""
    return Case(events, {name: _book(name, ledger) for name, ledger in ledgers.items()}, leaks)
