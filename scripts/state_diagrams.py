"""Writes the diagrams of docs/states.md from the functions that decide: `decide` and `Sale.state_at`."""  # noqa: INP001

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import cast
from uuid import UUID

from holdfast_inventory.domain.commands import Command, Confirm, Create, Extend, Release, Sweep
from holdfast_inventory.domain.decide import Done, State, decide
from holdfast_inventory.domain.errors import DomainError
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.reservation import Line, Reservation, ReservationState
from holdfast_inventory.domain.sale import Sale, SaleChanges, SaleState

DOCUMENT = Path(__file__).parents[1] / "docs/states.md"

_NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_ID = UUID(int=1)
_EXPIRES_AT = _NOW + timedelta(minutes=2)
_LINES = (Line("item", 1),)
_SALE = Sale(
    sale_id="sale",
    open_at=_NOW - _HOUR,
    close_at=_NOW + _HOUR,
    per_customer_limit=0,
    hold_time=timedelta(minutes=2),
    max_hold_time=timedelta(minutes=15),
    paused=False,
    cancelled_at=None,
    created_at=_NOW - 2 * _HOUR,
    updated_at=_NOW - 2 * _HOUR,
    schedule_id=None,
    sequence=1,
    salt=bytes(32),
    limits_customers=False,
)

_Edge = tuple[str, str, str]
"""A state, the state after it, and what leads from one to the other."""


def rendered(text: str) -> str:
    """Return the document with each part between its markers made anew."""
    parts = {
        "reservation": _diagram(_reservation_edges()),
        "commands": _table(),
        "sale": _diagram(_sale_edges()),
    }
    for name, part in parts.items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, rf"\g<1>{_escaped(part)}\n\g<2>", text, flags=re.DOTALL)
    return text


def _escaped(replacement: str) -> str:
    return replacement.replace("\\", r"\\")


# Reservations

_COMMANDS: dict[str, Command] = {
    "create": Create(_ID, "customer", _LINES, None, False, False, "", b"create"),
    "create with confirm": Create(_ID, "customer", _LINES, None, False, True, "order", b"create"),
    "confirm": Confirm(_ID, "order", allow_late=False, customer=""),
    "confirm with allow_late": Confirm(_ID, "order", allow_late=True, customer=""),
    "release": Release(_ID, ""),
    "extend": Extend(_ID, _NOW + timedelta(minutes=5), ""),
    "the hold time ends": Sweep(),
    "the sale is cancelled": Sweep(),
}
_ANSWERED = ("create", "confirm", "confirm with allow_late", "release", "extend")
_NONE = "none"
_START = "[*]"


def _reservation_edges() -> Iterator[_Edge]:
    for before, (name, command) in product((None, *ReservationState), _COMMANDS.items()):
        after, _ = _decided(before, name, command)
        if after is not None and _is_change(before, after):
            yield (before.name if before else _START), after.state.name, name


def _is_change(before: ReservationState | None, after: Reservation) -> bool:
    return after.state is not before or after.expires_at > _EXPIRES_AT


def _table() -> str:
    """Return what each command does in each state: the next state, the same state, or a reason."""
    states = (None, *ReservationState)
    lines = ["| command | " + " | ".join(state.name if state else _NONE for state in states) + " |"]
    lines.append("|---" * (len(states) + 1) + "|")
    for name in _ANSWERED:
        cells = [_cell(state, name) for state in states]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(before: ReservationState | None, name: str) -> str:
    _, answer = _decided(before, name, _COMMANDS[name])
    if isinstance(answer, DomainError):
        return answer.reason
    done = cast("Done", answer)
    return f"{done.reservation.state.name}, replay" if done.replayed else done.reservation.state.name


def _decided(before: ReservationState | None, name: str, command: Command) -> tuple[Reservation | None, object]:
    """Decide a command on a reservation in a state. Return the reservation afterwards, and the answer."""
    now = _NOW + _HOUR / 2 if name == "the hold time ends" else _NOW
    sale = replace(_SALE, cancelled_at=_NOW) if name == "the sale is cancelled" else _SALE
    known = None if before is None else _reservation(before)
    due = [known] if known and known.state is ReservationState.HELD and isinstance(command, Sweep) else []
    state = State(
        sale=sale,
        now=now,
        items={"item": Item("item", 5, 1, 5, 0, 1)},
        reservations={_ID: known} if known else {},
        used={},
        due=due,
        more_due=False,
        stock_changes={},
        holds_end_at={},
    )
    decision = decide(state, [command])
    after = next(iter([*decision.created, *decision.changed]), known)
    return after, decision.answers[0]


def _reservation(state: ReservationState) -> Reservation:
    ended_at = None if state is ReservationState.HELD else _NOW
    order = "order" if state is ReservationState.CONFIRMED else ""
    return Reservation(_ID, "customer", _LINES, (), state, _NOW, _EXPIRES_AT, ended_at, order, b"create")


# Sales

_TIMES = {"before": _NOW - 2 * _HOUR, "open": _NOW, "after": _NOW + 2 * _HOUR}


def _sale_edges() -> Iterator[_Edge]:
    yield _START, _sale_state(_SALE, "before"), "create"
    yield _START, _sale_state(_SALE, "open"), "create without open_time"
    for paused, cancelled, time in product((False, True), (False, True), _TIMES):
        sale = replace(_SALE, paused=paused, cancelled_at=_TIMES["before"] if cancelled else None)
        before = _sale_state(sale, time)
        for event, changed, moment in _sale_events(sale, time):
            after = _sale_state(changed, moment)
            if after != before:
                yield before, after, event


def _sale_events(sale: Sale, time: str) -> Iterator[tuple[str, Sale, str]]:
    now = _TIMES[time]
    if time == "before":
        yield "open_time passes", sale, "open"
    if time == "open":
        yield "close_time passes", sale, "after"
    yield "pause", replace(sale, paused=True), time
    yield "resume", replace(sale, paused=False), time
    yield "cancel", replace(sale, cancelled_at=sale.cancelled_at or now), time
    for open_at, close_at in (
        (now - 2 * _HOUR, now - _HOUR),
        (now - _HOUR, now + _HOUR),
        (now + _HOUR, now + 2 * _HOUR),
    ):
        yield "update", SaleChanges(open_at=open_at, close_at=close_at).applied_to(sale), time


def _sale_state(sale: Sale, time: str) -> str:
    state: SaleState = sale.state_at(_TIMES[time])
    return state.name


# Mermaid


def _diagram(edges: Iterable[_Edge]) -> str:
    labels: dict[tuple[str, str], dict[str, None]] = {}
    for before, after, label in edges:
        labels.setdefault((before, after), {})[label] = None
    lines = [f"  {before} --> {after}: {', '.join(names)}" for (before, after), names in labels.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
