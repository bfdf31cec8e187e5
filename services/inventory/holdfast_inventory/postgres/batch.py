"""What a batch reads under its sale's lock, and what it appends."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from holdfast_inventory.domain.commands import Adjust, Command, Confirm, Create, Extend, Release
from holdfast_inventory.domain.decide import Decision, State
from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import Movement
from holdfast_inventory.domain.reservation import Line, Reservation, ReservationState
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.postgres.database import Connection
from holdfast_inventory.postgres.statements import load

SQL = load("batch")

_STATES = {state.value: state for state in ReservationState}


async def lock_sale(connection: Connection, sale_id: str) -> Sale:
    """Waits for the sale's lock and reads its row. Raises `NotFound`."""
    row = await connection.fetchrow(SQL["lock_sale"], sale_id)
    if row is None:
        raise NotFound(f"sales/{sale_id}")
    return Sale(**row)


async def read_state(
    connection: Connection,
    sale: Sale,
    commands: Sequence[Command],
    due_limit: int,
    *,
    stock_change_ids: Iterable[UUID] = (),
    item_ids: Iterable[str] = (),
) -> State:
    """All that `commands` touch, and up to `due_limit` holds that have run out. The sale must be locked.

    `stock_change_ids` and `item_ids` add to what the commands name.
    """
    rows = await connection.fetch(
        SQL["read_reservations"],
        sale.sale_id,
        _reservation_ids(commands),
        due_limit,
        sale.cancelled_at is not None,
    )
    now: datetime = rows[0]["now"]
    reservations = {row["reservation_id"]: reservation(row) for row in rows if row["reservation_id"] is not None}
    due = [reservations[row["reservation_id"]] for row in rows if row["is_due"]]
    items = await connection.fetch(
        SQL["read_items"], sale.sale_id, _item_ids(commands, reservations.values(), item_ids)
    )
    change_ids = [command.change_id for command in commands if isinstance(command, Adjust)]
    change_ids.extend(stock_change_ids)
    return State(
        sale=sale,
        now=now,
        items={row["item_id"]: Item(**row) for row in items},
        reservations=reservations,
        used=await _read_used(connection, sale, _limited_customers(commands, reservations), now),
        due=due,
        more_due=len(due) == due_limit,
        stock_changes=await _read_stock_changes(connection, sale, change_ids),
    )


async def append(connection: Connection, state: State, decision: Decision) -> None:
    """Appends what was decided, in one statement. The sale must be locked."""
    movements = decision.movements
    await connection.execute(
        SQL["append"],
        state.sale.sale_id,
        decision.sequence,
        state.now,
        *_item_columns(decision.items),
        *_reservation_columns(decision.created),
        *_reservation_columns(decision.changed),
        [change.change_id for change in decision.stock_changes],
        [change.fingerprint for change in decision.stock_changes],
        *movement_columns(movements),
    )


async def read_bound_ids(connection: Connection, sale_id: str, ids: Sequence[UUID]) -> set[UUID]:
    """Which of `ids` have a reservation in the sale. Needs no lock."""
    rows = await connection.fetch(SQL["read_bound_ids"], sale_id, ids)
    return {row["reservation_id"] for row in rows}


def reservation(row: asyncpg.Record) -> Reservation:
    """A row of `reservations` as the domain has it."""
    return Reservation(
        reservation_id=row["reservation_id"],
        customer=row["customer"],
        lines=tuple(map(Line, row["item_ids"], row["quantities"])),
        state=_STATES[row["state"]],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        ended_at=row["ended_at"],
        order=row["order_id"],
        fingerprint=row["fingerprint"],
    )


def movement_columns(movements: Sequence[Movement]) -> list[list[Any]]:
    """The arrays of a ledger row."""
    return [
        [movement.kind.value for movement in movements],
        [movement.item_id for movement in movements],
        [movement.on_hand_delta for movement in movements],
        [movement.held_delta for movement in movements],
        [movement.sold_delta for movement in movements],
        [movement.reservation_id for movement in movements],
        [movement.reason and movement.reason.value for movement in movements],
        [movement.actor for movement in movements],
    ]


def _reservation_ids(commands: Iterable[Command]) -> list[UUID]:
    # Random ids too: when a batch is run again after a lost COMMIT, their reservations may be there.
    return [command.reservation_id for command in commands if isinstance(command, Create | Confirm | Release | Extend)]


def _item_ids(commands: Iterable[Command], reservations: Iterable[Reservation], item_ids: Iterable[str]) -> list[str]:
    found = set(item_ids)
    for command in commands:
        if isinstance(command, Create):
            found.update(line.item_id for line in command.lines)
        elif isinstance(command, Adjust):
            found.add(command.item_id)
    for held in reservations:
        found.update(line.item_id for line in held.lines)
    return list(found)


def _limited_customers(commands: Iterable[Command], reservations: dict[UUID, Reservation]) -> list[str]:
    customers = {command.customer for command in commands if isinstance(command, Create)}
    for command in commands:
        if isinstance(command, Confirm) and command.allow_late and command.reservation_id in reservations:
            customers.add(reservations[command.reservation_id].customer)
    return list(customers)


async def _read_used(
    connection: Connection, sale: Sale, customers: list[str], now: datetime
) -> dict[str, dict[str, int]]:
    used: dict[str, dict[str, int]] = {}
    if sale.limits_customers and customers:
        for customer, item_id, units in await connection.fetch(SQL["read_used"], sale.sale_id, customers, now):
            used.setdefault(customer, {})[item_id] = units
    return used


async def _read_stock_changes(connection: Connection, sale: Sale, change_ids: list[UUID]) -> dict[UUID, bytes]:
    if not change_ids:
        return {}
    rows = await connection.fetch(SQL["read_stock_changes"], sale.sale_id, change_ids)
    return {row["change_id"]: row["fingerprint"] for row in rows}


def _item_columns(items: Sequence[Item]) -> list[list[Any]]:
    return [
        [item.item_id for item in items],
        [item.on_hand for item in items],
        [item.held for item in items],
        [item.sold for item in items],
        [item.per_customer_limit for item in items],
        [item.version for item in items],
    ]


def _reservation_columns(reservations: Sequence[Reservation]) -> list[list[Any]]:
    return [
        [new.reservation_id for new in reservations],
        [new.customer for new in reservations],
        [_array_literal(line.item_id for line in new.lines) for new in reservations],
        [_array_literal(str(line.quantity) for line in new.lines) for new in reservations],
        [new.state.value for new in reservations],
        [new.created_at for new in reservations],
        [new.expires_at for new in reservations],
        [new.ended_at for new in reservations],
        [new.order for new in reservations],
        [new.fingerprint for new in reservations],
    ]


def _array_literal(elements: Iterable[str]) -> str:
    # Ids have neither quotes nor backslashes; the quotes are for an item that is called NULL.
    return "{" + ",".join(f'"{element}"' for element in elements) + "}"
