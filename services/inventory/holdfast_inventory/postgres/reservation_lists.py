"""Lists of reservations, the newest first: of a customer, of an order, those that are held, and all others."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from holdfast_inventory.domain.errors import FieldViolation, InvalidRequest
from holdfast_inventory.domain.reservation import Reservation, ReservationFilter, ReservationState
from holdfast_inventory.postgres.batch import reservation
from holdfast_inventory.postgres.columns import Row
from holdfast_inventory.postgres.database import Connection, Database
from holdfast_inventory.postgres.statements import load
from holdfast_inventory.postgres.stocking import require_sale

SQL = load("reservation_lists")

# A page reads stretches, each larger than the one before, until it is full. When it has read so much it may be short.
_GROWTH = 4
_MOST_ROWS = 10_000
# Batches differ in size: so many are looked at to find enough movements.
_MOST_BATCHES = 500

_FIRST_TIME = datetime.fromtimestamp(0, UTC)
_LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)
_FIRST_ID = str(UUID(int=0))
_LAST_SEQUENCE = 2**63 - 1


class Found(NamedTuple):
    """A reservation, and its sale."""

    sale_id: str
    reservation: Reservation


Page = tuple[list[Found], str | None]


class _Place(NamedTuple):
    """A position in a list that is ordered by time. Entries of the same time are ordered by key and sequence."""

    at: datetime
    key: str
    sequence: int = 0

    @property
    def cursor(self) -> str:
        return f"{self.at.isoformat()}/{self.key}/{self.sequence}"


class _Stretch(NamedTuple):
    """A part of a list: its entries with their places, and where the next part begins."""

    entries: Sequence[tuple[_Place, Found]]
    rest: _Place | None


_Walk = Callable[[Connection, ReservationFilter, _Place, int], Awaitable[_Stretch]]
"""Read a stretch of about so many rows behind a place."""


class ReservationLists:
    """Lists of reservations. They raise `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_reservations(self, wanted: ReservationFilter, page_size: int, cursor: str | None) -> Page:
        """Return a page of reservations, and where the next page begins. A page may be short or empty before the end.

        They are in the order of their creation, the newest first. Without customer and order, open holds are in the
        order of their ends instead, and so are all if times of their ends are asked for. Raises `InvalidRequest` for a
        cursor of another list, and `NotFound` if the sale does not exist.
        """
        walk, end = _walk(wanted)
        # Before the first entry of that time.
        place = _Place(end or _LAST_TIME, _FIRST_ID) if cursor is None else _place(cursor)
        async with self._database.reading() as connection:
            page = await _page(connection, walk, wanted, place, page_size)
            if not page[0] and wanted.sale_id is not None:
                await require_sale(connection, wanted.sale_id)
        return page


async def _page(connection: Connection, walk: _Walk, wanted: ReservationFilter, place: _Place, page_size: int) -> Page:
    page: list[Found] = []
    last = place
    rows, rows_read = page_size + 1, 0
    while rows_read < _MOST_ROWS:
        stretch = await walk(connection, wanted, place, rows)
        for at, found in stretch.entries:
            if wanted.matches(*found):
                if len(page) == page_size:
                    return page, last.cursor
                page.append(found)
                last = at
        if stretch.rest is None:
            return page, None
        place = last = stretch.rest
        rows_read += rows
        rows = min(rows * _GROWTH, _MOST_ROWS)
    return page, place.cursor


def _walk(wanted: ReservationFilter) -> tuple[_Walk, datetime | None]:
    """Return how to find what is wanted, and the time before which its list begins."""
    if wanted.order is not None:
        return _of_order, wanted.created_before
    if wanted.customer is not None:
        return _of_customer, wanted.created_before
    if wanted.state is ReservationState.HELD:
        return _open, None
    end = wanted.ended_before if wanted.by_end else wanted.created_before
    return (_of_all_sales if wanted.sale_id is None else _of_sale), end


async def _of_order(connection: Connection, wanted: ReservationFilter, place: _Place, rows: int) -> _Stretch:
    found = await connection.fetch(
        SQL["reservations_of_order"], wanted.order, place.at, _id(place), wanted.created_from or _FIRST_TIME, rows
    )
    return _by_creation(found, rows)


async def _of_customer(connection: Connection, wanted: ReservationFilter, place: _Place, rows: int) -> _Stretch:
    found = await connection.fetch(
        SQL["reservations_of_customer"],
        wanted.sale_id,
        wanted.customer,
        place.at,
        _id(place),
        wanted.created_from or _FIRST_TIME,
        rows,
    )
    return _by_creation(found, rows)


async def _open(connection: Connection, wanted: ReservationFilter, place: _Place, rows: int) -> _Stretch:
    found = await connection.fetch(SQL["open_reservations"], wanted.sale_id, place.at, _id(place), rows)
    entries = [(_Place(row["expires_at"], str(row["reservation_id"])), _found(row)) for row in found]
    return _Stretch(entries, entries[-1][0] if len(entries) == rows else None)


async def _of_sale(connection: Connection, wanted: ReservationFilter, place: _Place, rows: int) -> _Stretch:
    """The list by the sale's ledger. It begins before a sequence, or if there is none yet before a time."""
    before = place.sequence or await _sequence_at(connection, wanted.sale_id, place.at)
    first = await _sequence_at(connection, wanted.sale_id, _from(wanted))
    batches = await connection.fetch(SQL["batches_of_sale"], wanted.sale_id, first, before, _MOST_BATCHES)
    return await _of_batches(connection, wanted, place, batches, rows)


async def _of_all_sales(connection: Connection, wanted: ReservationFilter, place: _Place, rows: int) -> _Stretch:
    """The list by the ledgers of all sales."""
    batches = await connection.fetch(SQL["batches_of_all_sales"], _from(wanted), *place, _MOST_BATCHES)
    return await _of_batches(connection, wanted, place, batches, rows)


async def _of_batches(
    connection: Connection, wanted: ReservationFilter, place: _Place, batches: Sequence[Row], rows: int
) -> _Stretch:
    """The list by the first of these batches, which have about so many movements."""
    taken = list(_first_movements(batches, place, rows))
    keys = [row["sale_id"] for row in taken], [row["first_sequence"] for row in taken]
    found = await connection.fetch(SQL["reservations_of_batches"], *keys, wanted.by_end)
    entries = [
        (_Place(row["at"], row["sale_id"], row["sequence"]), _found(row))
        for row in found
        if (row["at"], row["sale_id"]) != (place.at, place.key) or row["sequence"] < place.sequence
    ]
    if len(taken) == len(batches) < _MOST_BATCHES:
        return _Stretch(entries, None)
    last = taken[-1]
    return _Stretch(entries, _Place(last["created_at"], last["sale_id"], last["first_sequence"]))


def _first_movements(batches: Sequence[Row], place: _Place, most: int) -> Iterator[Row]:
    movements = 0
    for row in batches:
        if movements >= most:
            return
        yield row
        movements += row["last_sequence"] - row["first_sequence"] + 1


async def _sequence_at(connection: Connection, sale_id: str | None, moment: datetime) -> int:
    """Return the sequence with which a time begins in a sale's ledger."""
    if moment == _FIRST_TIME:
        return 1
    sequence: int | None = await connection.fetchval(SQL["sequence_at"], sale_id, moment)
    return 1 if sequence is None else sequence


def _by_creation(rows: Sequence[Row], most: int) -> _Stretch:
    entries = [(_Place(row["created_at"], str(row["reservation_id"])), _found(row)) for row in rows]
    return _Stretch(entries, entries[-1][0] if len(entries) == most else None)


def _found(row: Row) -> Found:
    return Found(row["sale_id"], reservation(row))


def _from(wanted: ReservationFilter) -> datetime:
    return (wanted.ended_from if wanted.by_end else wanted.created_from) or _FIRST_TIME


def _place(cursor: str) -> _Place:
    at, key, sequence = (*cursor.split("/"), "", "")[:3]
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is not None and sequence.isascii() and sequence.isdecimal():
            return _Place(moment.astimezone(UTC), key, min(int(sequence[:20]), _LAST_SEQUENCE))
    except (ValueError, OverflowError):
        pass
    raise _foreign_cursor()


def _id(place: _Place) -> UUID:
    try:
        return UUID(place.key)
    except ValueError:
        raise _foreign_cursor() from None


def _foreign_cursor() -> InvalidRequest:
    return InvalidRequest((FieldViolation("page_token", "must be a next_page_token of the same list"),))
