"""The effects of requests: the product's ledger of movements compared with the drill's record of requests."""

from collections import Counter, defaultdict

from holdfast.inventory.v1 import movement_pb2
from holdfast.inventory.v1 import reservation_service_pb2 as rs
from holdfast.inventory.v1 import sale_service_pb2 as ss
from lab.drill.request_ledger import Outcome

_SHOWN = 5
_MOVES = {"hold": "HOLD", "buy": "CONFIRM", "confirm": "CONFIRM", "release": "RELEASE"}


async def faults_of_effects(client, sale, book):
    """Return what was lost, applied twice or never requested, and the last movement's sequence."""
    movements = await client.all_of(ss.ListMovementsRequest(parent=sale), "movements")
    numbers = [movement.sequence for movement in movements]
    faults = [] if numbers == list(range(1, len(numbers) + 1)) else ["the movements are not numbered without gaps"]
    done = defaultdict(Counter)
    for movement in movements:
        if movement.reservation:
            done[movement.reservation][movement_pb2.Movement.Kind.Name(movement.kind)] += 1
    certain, possible = await _asked(client, sale, book)
    faults += _compare(done, certain, possible)
    verified = await client.call(ss.VerifyLedgerRequest(name=sale))
    if not verified.consistent:
        faults.append(f"VerifyLedger: {list(verified.discrepancies)}")
    return faults, verified.sequence


async def _asked(client, sale, book):
    """Return the movements that answers promised, and those that requests without a final success may have caused."""
    certain, possible = defaultdict(Counter), defaultdict(Counter)
    for entry in book.entries:
        move = _MOVES[entry.operation]
        if entry.outcome is Outcome.ANSWERED:
            certain[entry.reservation][move] += 1
        elif entry.reservation:
            possible[entry.reservation][move] += 1
        else:
            request = rs.ListReservationsRequest(parent=sale, customer=entry.id)
            for reservation in (await client.call(request)).reservations:
                possible[reservation.name][move] = 1
    return certain, possible


def _compare(done, certain, possible):
    faults = []
    for name in done.keys() | certain.keys():
        lost, more = certain[name] - done[name], done[name] - certain[name] - possible[name]
        if lost:
            faults.append(f"acknowledged and lost: {name} {dict(lost)}")
        if more:
            faults.append(f"done once too often: {name} {dict(more)}")
    if len(faults) > _SHOWN:
        faults[_SHOWN:] = [f"and {len(faults) - _SHOWN} more like these"]
    return faults
