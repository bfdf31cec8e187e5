"""The history of a sale: its reservations and movements, and their verification."""

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest, NotFound
from holdfast_inventory.domain.movement import AdjustReason, Movement, MovementKind
from holdfast_inventory.domain.reservation import Reservation, ReservationState
from holdfast_inventory.postgres.batch import reservation
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import load
from holdfast_inventory.postgres.stocking import require_sale

SQL = load("history")

# A page of reservations reads no more of the ledger than this, so it may be short or empty.
_STRETCH_BATCHES = 1000
_STRETCH_MOVEMENTS = 20_000
_VERIFY_SECONDS = 30.0
# The server's limit comes first, so that the connection can be used again.
_VERIFY_GRACE_SECONDS = 2.0

_KINDS = {kind.value: kind for kind in MovementKind}
_REASONS = {reason.value: reason for reason in AdjustReason}

Page = tuple[list[Reservation], str | None]


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


class _Place(NamedTuple):
    """A position in a list that is ordered by time."""

    at: datetime
    reservation_id: UUID

    @property
    def cursor(self) -> str:
        return f"{self.at.isoformat()}/{self.reservation_id}"


_BEFORE_ALL = _Place(datetime.fromtimestamp(0, UTC), UUID(int=0))


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

    async def list_reservations(
        self, sale_id: str, page_size: int, cursor: str | None, customer: str | None, state: ReservationState | None
    ) -> Page:
        """Return a page of reservations, and where the next page begins. A page may be short or empty before the end.

        They are in the order of their creation, but open holds of all customers are in the order of their ends. Raises
        `InvalidRequest` for a cursor of another list.
        """
        async with self._database.reading() as connection:
            if customer is not None:
                page = await _of_customer(connection, sale_id, page_size, cursor, customer, state)
            elif state is ReservationState.HELD:
                page = await _open(connection, sale_id, page_size, cursor)
            else:
                return await _of_ledger(connection, sale_id, page_size, cursor, state)
            if not page[0]:
                await require_sale(connection, sale_id)
            return page

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


async def _of_customer(
    connection: Connection,
    sale_id: str,
    page_size: int,
    cursor: str | None,
    customer: str,
    state: ReservationState | None,
) -> Page:
    rows = await connection.fetch(
        SQL["list_reservations_of_customer"], sale_id, customer, *_place(cursor), state and state.value, page_size + 1
    )
    page = [reservation(row) for row in rows[:page_size]]
    return page, _Place(page[-1].created_at, page[-1].reservation_id).cursor if len(rows) > page_size else None


async def _open(connection: Connection, sale_id: str, page_size: int, cursor: str | None) -> Page:
    rows = await connection.fetch(SQL["list_open_reservations"], sale_id, *_place(cursor), page_size + 1)
    page = [reservation(row) for row in rows[:page_size]]
    return page, _Place(page[-1].expires_at, page[-1].reservation_id).cursor if len(rows) > page_size else None


async def _of_ledger(
    connection: Connection, sale_id: str, page_size: int, cursor: str | None, state: ReservationState | None
) -> Page:
    after = _sequence(cursor)
    stretch = await connection.fetchrow(SQL["stretch_of_ledger"], sale_id, after, _STRETCH_BATCHES, _STRETCH_MOVEMENTS)
    if stretch is None:
        raise NotFound(f"sales/{sale_id}")
    sequence, last = stretch
    if last is None:
        return [], None
    rows = await connection.fetch(
        SQL["list_reservations_of_ledger"], sale_id, after, last, state and state.value, page_size
    )
    if len(rows) == page_size:
        last = rows[-1]["sequence"]
    return [reservation(row) for row in rows], str(last) if last < sequence else None


def _place(cursor: str | None) -> _Place:
    if cursor is None:
        return _BEFORE_ALL
    at, _, reservation_id = cursor.partition("/")
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is not None:
            return _Place(moment.astimezone(UTC), UUID(reservation_id))
    except (ValueError, OverflowError):
        pass
    raise _foreign_cursor()


def _sequence(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < len(str(2**63))):
        raise _foreign_cursor()
    return int(cursor)


def _foreign_cursor() -> InvalidRequest:
    return InvalidRequest((FieldViolation("page_token", "must be a next_page_token of the same list"),))


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
