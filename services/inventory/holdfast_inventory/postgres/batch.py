"""The two statements of a batch: read its sale, and append to it if it has not changed since."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from holdfast_inventory.domain.commands import Adjust, Command, Confirm, Create, Extend, Release, Return
from holdfast_inventory.domain.decide import Decision, State, StockChange
from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.item import MAX_UNITS, Item
from holdfast_inventory.domain.movement import Movement
from holdfast_inventory.domain.reservation import Line, Reservation, ReservationState
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.ports import NotApplied
from holdfast_inventory.postgres.columns import (
    HOLD,
    ITEM,
    LEDGER,
    RESERVATION,
    SALE,
    STOCK_CHANGE,
    USE,
    Row,
    arrays,
    rows,
)
from holdfast_inventory.postgres.database import Connection
from holdfast_inventory.postgres.statements import arguments, load

SQL = load("batch")

_RUNNING_LIMIT = 32

_STATES = {state.value: state for state in ReservationState}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, and the values that show whether the sale is still in it."""

    state: State
    revision: int
    row_version: int


async def lock_sale(connection: Connection, sale_id: str) -> Sale:
    """Wait for the sale's lock and return its row. Raises `NotFound`."""
    row = await connection.fetchrow(SQL["lock_sale"], sale_id)
    if row is None:
        raise NotFound(f"sales/{sale_id}")
    return Sale(**row)


async def read(
    connection: Connection,
    sale_id: str,
    commands: Sequence[Command],
    due_limit: int,
    *,
    stock_change_ids: Iterable[UUID] = (),
    units: Mapping[str, int] = MappingProxyType({}),
) -> Snapshot:
    """Return everything that `commands` touch, and up to `due_limit` due holds. Raises `NotFound`.

    `stock_change_ids` and `units` (by item) are read in addition to what the commands name and ask for.
    """
    asked = Counter(units)
    for item_id, quantity in _asked(commands):
        asked[item_id] += quantity
    wanted = {
        "sale_id": sale_id,
        # Random ids too: if a batch is executed again after a lost COMMIT, their reservations may exist.
        "reservation_ids": [
            command.reservation_id
            for command in commands
            if isinstance(command, Create | Confirm | Release | Extend | Return)
        ],
        "due_limit": due_limit,
        "item_ids": list(asked),
        "most_units": _most_units(commands, asked),
        "running_limit": _RUNNING_LIMIT,
        "customers": list({command.customer for command in commands if isinstance(command, Create)}),
        "late_ids": [
            command.reservation_id for command in commands if isinstance(command, Confirm) and command.allow_late
        ],
        "change_ids": [
            *stock_change_ids,
            *(command.change_id for command in commands if isinstance(command, Adjust | Return)),
        ],
    }
    row = await connection.fetchrow(SQL["read"], *arguments(SQL["read"], wanted))
    if row is None:
        raise NotFound(f"sales/{sale_id}")
    return Snapshot(_state(row, due_limit), row["revision"], row["row_version"])


async def append(connection: Connection, snapshot: Snapshot, decision: Decision) -> None:
    """Append in a transaction that holds the sale's lock. Raises `NotApplied` if the snapshot is too old."""
    if not await connection.fetchval(SQL["append"], *append_arguments(snapshot, decision)):
        raise NotApplied("the snapshot was too old")


def append_arguments(snapshot: Snapshot, decision: Decision) -> list[Any]:
    """Return the arguments of the statement `append` for a decision on a snapshot."""
    state, movements = snapshot.state, decision.movements
    return arguments(SQL["append"], {
        "sale_id": state.sale.sale_id,
        "revision": snapshot.revision,
        "row_version": snapshot.row_version,
        "read_at": state.now,
        "first_sequence": decision.sequence - len(movements) + 1,
        "sequence": decision.sequence,
        **dict(arrays("levels", ITEM, decision.items)),
        **dict(arrays("created", RESERVATION, list(map(_reservation_values, decision.created)))),
        **dict(arrays("changed", RESERVATION, list(map(_reservation_values, decision.changed)))),
        **dict(arrays("stock_changes", STOCK_CHANGE, decision.stock_changes)),
        **dict(arrays("movements", LEDGER, list(map(_movement_values, movements)))),
    })  # fmt: skip


def reservation(row: Row) -> Reservation:
    """Return the reservation in a row of `reservations`."""
    return _reservation(*(row[name] for name in RESERVATION))


def _state(row: Row, due_limit: int) -> State:
    due = list(_reservations(row, "due"))
    items = {level[0]: Item(*level) for level in rows(row, "level", ITEM)}
    reservations = {known.reservation_id: known for known in (*_reservations(row, "named"), *due)}
    used: dict[str, dict[str, int]] = {}
    for customer, item_id, units in rows(row, "used", USE):
        used.setdefault(customer, {})[item_id] = units
    return State(
        sale=Sale(**{name: row[name] for name in SALE}),
        now=row["now"],
        items=items,
        reservations=reservations,
        used=used,
        due=due,
        more_due=len(due) == due_limit,
        stock_changes={change[0]: StockChange(*change) for change in rows(row, "change", STOCK_CHANGE)},
        holds_end_at=_holds_end_at(items.values(), list(rows(row, "running", HOLD))),
    )


def _holds_end_at(items: Iterable[Item], running: Sequence[tuple[str, datetime]]) -> dict[str, datetime]:
    """Return when the first hold on each item ends; for an item with later holds only, when the last of these ends."""
    if not running:
        return {}
    ends: dict[str, datetime] = {}
    for item_ids, ends_at in running:
        for item_id in item_ids.split(","):
            ends.setdefault(item_id, ends_at)
    latest = running[-1][1] if len(running) == _RUNNING_LIMIT else None
    first = {item.item_id: ends.get(item.item_id, latest) for item in items if item.held}
    return {item_id: ends_at for item_id, ends_at in first.items() if ends_at is not None}


def _reservations(row: Row, group: str) -> Iterator[Reservation]:
    for reservation_id, customer, item_ids, quantities, returned, *rest in rows(row, group, RESERVATION):
        yield _reservation(
            reservation_id, customer, item_ids.split(","), _units(quantities), returned and _units(returned), *rest
        )


def _units(text: str) -> list[int]:
    return list(map(int, text.split(",")))


def _reservation(
    reservation_id: UUID,
    customer: str,
    item_ids: Sequence[str],
    quantities: Sequence[int],
    returned: Sequence[int] | None,
    state: int,
    *others: Any,  # noqa: ANN401 - by column
) -> Reservation:
    """Return the reservation with the values of the columns `RESERVATION`."""
    units_back = (
        () if returned is None else tuple([Line(*line) for line in zip(item_ids, returned, strict=True) if line[1]])
    )
    return Reservation(
        reservation_id, customer, tuple(map(Line, item_ids, quantities)), units_back, _STATES[state], *others
    )


def _most_units(commands: Iterable[Command], asked: Mapping[str, int]) -> int:
    """Return the most units that commands may ask of an item. Those of a late confirmation are not known yet."""
    is_late = any(isinstance(command, Confirm) and command.allow_late for command in commands)
    return MAX_UNITS if is_late else min(max(asked.values(), default=0), MAX_UNITS)


def _asked(commands: Iterable[Command]) -> Iterator[tuple[str, int]]:
    """Yield each item that commands name, with the units that they would take or 0."""
    for command in commands:
        if isinstance(command, Create):
            yield from command.lines
        elif isinstance(command, Adjust):
            yield command.item_id, max(-command.delta, 0)


def _reservation_values(new: Reservation) -> tuple[Any, ...]:
    """Return the values of the columns `RESERVATION`."""
    reservation_id, customer, lines, _, state, *others = new
    item_ids = ",".join([line.item_id for line in lines])
    quantities = ",".join([str(line.quantity) for line in lines])
    return (reservation_id, customer, item_ids, quantities, _returned(new), state.value, *others)


def _returned(known: Reservation) -> str | None:
    """Return the returned units of each line, or None if there are none."""
    if not known.returned:
        return None
    returned = dict(known.returned)
    return ",".join([str(returned.get(line.item_id, 0)) for line in known.lines])


def _movement_values(movement: Movement) -> tuple[Any, ...]:
    return (
        movement.kind.value,
        movement.item_id,
        movement.on_hand_delta,
        movement.held_delta,
        movement.sold_delta,
        movement.reservation_id,
        movement.reason and movement.reason.value,
        movement.actor,
    )
