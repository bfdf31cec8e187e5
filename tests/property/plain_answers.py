"""The answers of `decide` as plain tuples, in the form that the naive model gives them."""

from holdfast_inventory.domain.decide import Adjusted, Answer, Done, Transferred
from holdfast_inventory.domain.errors import (
    BelowHeld,
    CustomerLimitReached,
    DomainError,
    ExtensionLimitReached,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    NotReturnable,
    PermissionDenied,
    ReservationConfirmed,
    ReservationExpired,
    SaleNotOpen,
)
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.reservation import Reservation


def plain(answer: Answer | Transferred) -> tuple:
    match answer:
        case Done(reservation, replayed, _):
            return ("done", plain_reservation(reservation), replayed)
        case Adjusted(item, replayed, _):
            return ("adjusted", *plain_level(item), replayed)
        case Transferred(source, destination, replayed, _):
            return ("transferred", plain_level(source), plain_level(destination), replayed)
        case DomainError():
            return ("refused", answer.reason, *_facts(answer))
        case _:
            return ("swept",)


def plain_reservation(reservation: Reservation) -> tuple:
    return (
        reservation.reservation_id,
        reservation.customer,
        tuple(tuple(line) for line in reservation.lines),
        reservation.state.name,
        reservation.created_at,
        reservation.expires_at,
        reservation.order,
        tuple(tuple(line) for line in reservation.returned),
    )


def plain_level(item: Item) -> tuple[int, int, int]:
    return (item.on_hand, item.held, item.sold)


def _facts(refusal: DomainError) -> tuple:
    match refusal:
        case InsufficientStock(shortages=shortages, retry_after_seconds=seconds):
            return (seconds is not None, *(tuple(shortage) for shortage in shortages))
        case InvalidRequest(violations=violations):
            return tuple(violation.field for violation in violations)
        case CustomerLimitReached(limit=limit, used=used, item_id=item_id):
            return (limit, used, item_id)
        case BelowHeld(on_hand=on_hand, held=held):
            return (on_hand, held)
        case PermissionDenied(scope=fact) | NotFound(resource=fact) | ReservationConfirmed(order=fact):
            return (fact,)
        case SaleNotOpen(open_at=fact) | ReservationExpired(expires_at=fact):
            return (fact,)
        case NotReturnable(item_id=item_id, asked=asked, left=left):
            return (item_id, asked, left)
        case ExtensionLimitReached(latest_expires_at=fact):
            return (fact,)
        case _:
            return ()
