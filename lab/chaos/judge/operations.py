"""Operations: each request with its outcome.

`at` and `wall` are those of the history: seconds since the run began, and Unix time by the clock of the database.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

from lab.chaos.history import Kind
from lab.chaos.judge.records import (
    Item,
    Lines,
    Reservation,
    merged,
    parsed_item,
    parsed_reservation,
    parsed_seconds,
    sale_of,
)

CLOCK_SLACK_SECONDS = 0.05
"""The maximum delay between reading the clock and the moment that the value stands for. The database and the runner
read the same clock, so only the scheduler of a busy machine causes a delay."""

Key = tuple[object, ...]
"""The fields that define the meaning of each method's request."""

RULE_CHANGES = frozenset({"pause", "resume", "update"})
"""Methods that change a sale's rules; their answer is the sale."""


@dataclass(frozen=True)
class Operation:
    """An invocation and its completion. Without an answer, `completed` is infinity."""

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
        """The sale, item or reservation that it names; for a transfer, the source."""
        about = self.request["sale"] if self.action == "update" else self.request
        return str(about.get("parent") or about.get("source") or about["name"])

    @property
    def sale(self) -> str:
        return sale_of(self.target)

    @cached_property
    def lines(self) -> Lines:
        """The lines of a create."""
        return merged(self.request.get("lines", ()))

    @cached_property
    def reservation(self) -> Reservation:
        """The reservation in the answer."""
        return parsed_reservation(self.answer)

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """The stock levels in the answer."""
        if self.action in {"get_item", "adjust"}:
            return (parsed_item(self.answer),)
        if self.action == "transfer":
            return parsed_item(self.answer["source"]), parsed_item(self.answer["destination"])
        return ()

    @property
    def expected_version(self) -> int | None:
        """The expected version of an adjustment, if it has one."""
        version = self.request.get("expected_version")
        return None if version is None else int(version)

    @cached_property
    def key(self) -> Key:
        """The idempotency key: operations with one key have one effect."""
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
    def meaning(self) -> Key:
        """The part of the request that must be equal in all requests with one key."""
        ask = self.request.get
        match self.action:
            case "create":
                flags = bool(ask("allow_partial")), bool(ask("confirm")), ask("order") or ""
                hold_time = ask("hold_time")
                return ("create", self.lines, parsed_seconds(hold_time) if hold_time else None, *flags)
            case "adjust":
                return "adjust", self.target, ask("delta"), ask("reason"), self.expected_version
            case "transfer":
                return "transfer", self.target, ask("destination"), ask("quantity")
        return (self.action,)


@dataclass(frozen=True)
class Intent:
    """One intended effect: all operations with the same key and meaning."""

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
        """Return the operations that may have had the effect: all that were not refused."""
        return tuple(operation for operation in self.operations if not operation.is_refused)

    @cached_property
    def numbers(self) -> str:
        return numbers(self.operations)


def numbers(operations: Iterable[Operation]) -> str:
    """Return the operations as text for a violation."""
    found = [str(operation.number) for operation in operations]
    return f"operation{'s' if len(found) > 1 else ''} {', '.join(found)}"
