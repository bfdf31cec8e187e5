"""The requests, answers and faults of a run: one line of JSON for each event, written when it happens.

A request is recorded before it is sent, so that all of its effects can be explained. Requests and answers are the
messages of the contract in protobuf's JSON mapping, with the names of the protos and every field, for both
transports: `{"parent": "sales/a", "customer": "c-1", "lines": [{"item": "x", "quantity": 1}], ...}`.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Kind(StrEnum):
    INVOKE = "invoke"
    """A request is about to be sent."""
    OK = "ok"
    """It was granted: `answer` is the response."""
    FAIL = "fail"
    """It was refused and certainly not applied: `reason` is Holdfast's."""
    INFO = "info"
    """The outcome is unknown; `reason` says why: OUTCOME_UNKNOWN, a lost connection, no answer in time."""
    WATCH = "watch"
    """A watch was opened (`request`) or had an event (`answer`)."""
    FAULT = "fault"
    """A fault: `action` is its name, `client` its target, `reason` is begin or end."""
    YARDSTICK = "yardstick"
    """An empty call to a service, or a bare commit, during the load: `answer` has its duration in `seconds`."""
    PHASE = "phase"
    """A part of the run begins: `action` is its name, of `PHASES`."""


PHASES = ("warm-up", "calm", "load", "heal", "healed", "replay", "drain", "sell-out", "end")
"""Connections and caches warm up; load without faults; load with faults; everything is repaired; load without faults
again; unknown requests are sent again; holds expire; the rest is bought; the ledger is read."""

LEFT = frozenset({"the client went away", "the client was stopped"})
"""Reasons of an `info` for a request that the client itself ended. They are no fault of Holdfast, so the judge does
not count them as unavailability."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line. `at` is seconds since the run began, `wall` is Unix time by the clock that the database uses, too.

    `operation` connects an invocation with its completion, and the opening of a watch with its events.
    """

    kind: Kind
    at: float
    wall: float
    client: str = ""
    operation: int = 0
    action: str = ""
    transport: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False
    reason: str = ""


class Recorder:
    """Writes a history. Every event is passed to the operating system before `record` returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._began = time.monotonic()
        self._operations = 0
        self.events: list[Event] = []

    def next_operation(self) -> int:
        """Return a number that no other operation has."""
        self._operations += 1
        return self._operations

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    def record(self, kind: Kind, **fields: Any) -> Event:
        """Append an event that happens now."""
        event = Event(kind, self.now(), time.time(), **fields)
        self.events.append(event)
        self._file.write(json.dumps(asdict(event), separators=(",", ":")) + "\n")
        return event

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class SaleLedger:
    """A sale at the end of the run: messages of the contract, as in events. `verified` is VerifyLedger's answer.

    All of it belongs to one sequence: it is read again if the sale has changed in the meantime.
    """

    sale: dict[str, Any]
    items: list[dict[str, Any]]
    reservations: list[dict[str, Any]]
    movements: list[dict[str, Any]]
    verified: dict[str, Any]


def read_history(path: Path) -> list[Event]:
    """Return the events of a file, in the order in which they were written."""
    return [_event(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def write_ledgers(path: Path, ledgers: dict[str, SaleLedger]) -> None:
    """Write ledgers, by the name of their sale."""
    path.write_text(json.dumps({name: asdict(ledger) for name, ledger in ledgers.items()}), encoding="utf-8")


def read_ledgers(path: Path) -> dict[str, SaleLedger]:
    """Return the ledgers of a file."""
    return {name: SaleLedger(**ledger) for name, ledger in json.loads(path.read_text(encoding="utf-8")).items()}


def completions(events: Iterable[Event]) -> dict[int, tuple[Event, Event | None]]:
    """Return each operation's invocation and completion, or None if the run ended before, by its number."""
    invoked: dict[int, tuple[Event, Event | None]] = {}
    for event in events:
        if event.kind is Kind.INVOKE:
            invoked[event.operation] = event, None
        elif event.kind in {Kind.OK, Kind.FAIL, Kind.INFO}:
            invoked[event.operation] = invoked[event.operation][0], event
    return invoked


def _event(line: dict[str, Any]) -> Event:
    return Event(**line | {"kind": Kind(line["kind"])})
