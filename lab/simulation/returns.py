"""Judges what came back of what was sold: nothing comes back twice, unasked for, or in more units than were sold."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from holdfast_inventory.domain.commands import Return
from lab.simulation.history import Call
from lab.simulation.record import RETURN, Entry, SaleRecord


def bad_returns(record: SaleRecord, calls: Sequence[Call]) -> Iterator[str]:
    """Yield what is wrong with the returns of a sale: its movements, reservations and calls must agree."""
    requests = [call.command for call in calls if isinstance(call.command, Return) and call.may_be_done]
    # An id may be used with several meanings; the first one is stored with it.
    asked = {
        str(request.change_id): request
        for request in requests
        if (row := record.stock_changes.get(request.change_id)) and row["fingerprint"] == request.fingerprint
    }
    yield from _unlike_requests(record, asked)
    yield from _unlike_reservations(record)


def _unlike_requests(record: SaleRecord, asked: Mapping[str, Return]) -> Iterator[str]:
    """Check that each return moved what its request says, each item once."""
    left = {
        (reservation_id, item_id): units
        for reservation_id, row in record.reservations.items()
        for item_id, units in zip(row["item_ids"], row["quantities"], strict=True)
    }
    moved: defaultdict[tuple[str, object], list[Entry]] = defaultdict(list)
    for entry in record.entries:
        if entry.kind == RETURN:
            moved[entry.actor.partition(" of ")[2], entry.at].append(entry)
    seen = set()
    for (change_id, _), entries in moved.items():
        where = f"{record.sale_id}: return {change_id}"
        command = asked.get(change_id)
        if command is None or change_id in seen:
            yield f"{where} was not requested, or was made twice"
            continue
        seen.add(change_id)
        units = {entry.item_id: -entry.sold for entry in entries}
        place = command.reservation_id
        rest = {item_id: units for (key, item_id), units in left.items() if key == place and units}
        wanted = dict(command.lines) or rest
        if len(units) < len(entries) or units != wanted or {entry.reservation_id for entry in entries} != {place}:
            yield f"{where} moved {entries}, and {command} was requested"
        if any(entry.held or entry.on_hand != (-entry.sold if command.restock else 0) for entry in entries):
            yield f"{where} moved {entries}, with restock {command.restock}"
        for item_id, quantity in units.items():
            left[place, item_id] = left.get((place, item_id), 0) - quantity
            if left[place, item_id] < 0:
                yield f"{where} returned more of {item_id} than was left"


def _unlike_reservations(record: SaleRecord) -> Iterator[str]:
    """Check that a reservation says what was returned of it."""
    returned: defaultdict[tuple[object, str], int] = defaultdict(int)
    for entry in record.entries:
        if entry.kind == RETURN:
            returned[entry.reservation_id, entry.item_id] -= entry.sold
    for reservation_id, row in record.reservations.items():
        told = row["returned"] or [0] * len(row["quantities"])
        for item_id, units in zip(row["item_ids"], told, strict=True):
            if returned[reservation_id, item_id] != units:
                moved = returned[reservation_id, item_id]
                yield f"{record.sale_id}/{str(reservation_id)[:8]} says {units} of {item_id} came back, and {moved} did"
