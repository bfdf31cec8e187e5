"""The history of a sale: a reservation, its movements, and their verification."""

from typing import NamedTuple
from uuid import UUID

from holdfast_inventory.domain.errors import NotFound
from holdfast_inventory.domain.movement import AdjustReason, Movement, MovementKind
from holdfast_inventory.domain.reservation import Reservation
from holdfast_inventory.postgres.batch import reservation
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import load
from holdfast_inventory.postgres.stocking import require_sale

SQL = load("history")

_VERIFY_SECONDS = 30.0
# The server's limit comes first, so that the connection can be used again.
_VERIFY_GRACE_SECONDS = 2.0

_KINDS = {kind.value: kind for kind in MovementKind}
_REASONS = {reason.value: reason for reason in AdjustReason}


class Discrepancy(NamedTuple):
    """Two sums that should be equal: on_hand, held, sold or open_holds of an item, or the sequence (without item)."""

    item_id: str
    field: str
    stored: int
    summed: int


class Verification(NamedTuple):
    """The result of verifying a sale's ledger up to `sequence`."""

    sequence: int
    discrepancies: list[Discrepancy]


class History:
    """Reads of the history. They raise `DatabaseUnavailable`, and `NotFound` if the sale does not exist."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_reservation(self, sale_id: str, reservation_id: UUID) -> Reservation:
        """Read a reservation."""
        async with self._database.reading() as connection:
            row = await connection.fetchrow(SQL["get_reservation"], reservation_id, sale_id)
        if row is None:
            raise NotFound(f"sales/{sale_id}/reservations/{reservation_id}")
        return reservation(row)

    async def list_movements(self, sale_id: str, after_sequence: int, limit: int) -> list[Movement]:
        """Return up to `limit` movements after a sequence, in order and without gaps. All of them are durable.

        Readers continue after the last movement that they got: if a failover undid it, they would miss its successor.
        """
        async with self._database.reading() as connection:
            rows = await connection.fetch(SQL["list_movements"], sale_id, after_sequence, limit)
            if rows:
                await settle(connection)
            else:
                await require_sale(connection, sale_id)
        return [_movement(row) for row in rows]

    async def verify(self, sale_id: str) -> Verification:
        """Compare stock levels with the sums of movements and of open holds, in one snapshot, and find gaps."""
        timeout = _VERIFY_SECONDS + _VERIFY_GRACE_SECONDS
        async with (
            self._database.reading() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            await connection.execute(SQL["set_statement_timeout"], f"{_VERIFY_SECONDS:g}s")
            reach = await connection.fetchrow(SQL["verify_sequence"], sale_id, timeout=timeout)
            if reach is None:
                raise NotFound(f"sales/{sale_id}")
            rows = await connection.fetch(SQL["verify_levels"], sale_id, timeout=timeout)
        found = [found for row in rows for found in _level_discrepancies(row)]
        if reach["sequence"] != reach["reached"]:
            found.append(Discrepancy("", "sequence", reach["sequence"], reach["reached"]))
        return Verification(reach["sequence"], found)


async def settle(connection: Connection) -> None:
    """Wait until everything that was read on this connection is durable. See ADR 5."""
    await connection.execute(SQL["settle"])


def _movement(row: Row) -> Movement:
    columns = dict(row)
    reason = columns.pop("reason")
    return Movement(**columns | {"kind": _KINDS[row["kind"]], "reason": None if reason is None else _REASONS[reason]})


def _level_discrepancies(row: Row) -> list[Discrepancy]:
    pairs = (
        ("on_hand", row["on_hand"], row["on_hand_summed"]),
        ("held", row["held"], row["held_summed"]),
        ("sold", row["sold"], row["sold_summed"]),
        ("open_holds", row["held"], row["open_units"]),
    )
    return [Discrepancy(row["item_id"], field, stored, summed) for field, stored, summed in pairs if stored != summed]
