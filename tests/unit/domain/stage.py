"""A small sale for examples: it is open at noon, and holds last two minutes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import Adjust, Confirm, Create, Extend, Release, Return
from holdfast_inventory.domain.decide import State
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line, Reservation, ReservationState, merge_lines
from holdfast_inventory.domain.sale import Sale

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

SALE = Sale(
    sale_id="drop",
    open_at=NOON - timedelta(hours=1),
    close_at=NOON + timedelta(hours=1),
    per_customer_limit=0,
    hold_time=timedelta(seconds=120),
    max_hold_time=timedelta(seconds=900),
    paused=False,
    cancelled_at=None,
    created_at=NOON - timedelta(hours=2),
    updated_at=NOON - timedelta(hours=2),
    schedule_id=None,
    sequence=7,
    salt=b"salt" * 8,
    limits_customers=False,
)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def shoe(
    on_hand: int = 5, held: int = 0, sold: int = 0, limit: int = 0, item_id: str = "shoe", version: int = 7
) -> Item:
    return Item(item_id, on_hand, held, sold, limit, version)


def reading(
    *items: Item,
    now=NOON,
    known=(),
    due=(),
    more_due=False,
    used=None,
    stock_changes=None,
    holds_end_at=None,
    **rules: object,
) -> State:
    """Return what a batch reads: `items` (5 shoes), the `known` reservations, and `SALE` with other `rules`."""
    items = items or (shoe(),)
    limited = bool(rules.get("per_customer_limit") or any(item.per_customer_limit for item in items))
    return State(
        sale=replace(SALE, limits_customers=limited, **rules),
        now=now,
        items={item.item_id: item for item in items},
        reservations={reservation.reservation_id: reservation for reservation in known},
        used=used or {},
        due=due,
        more_due=more_due,
        stock_changes=stock_changes or {},
        holds_end_at=holds_end_at or {},
    )


def create(
    number: int,
    quantity: int = 1,
    customer: str = "ann",
    lines: tuple[Line, ...] = (),
    hold_time: timedelta | None = None,
    allow_partial: bool = False,
    confirm: bool = False,
    order: str = "",
) -> Create:
    merged = merge_lines(lines or (Line("shoe", quantity),))
    policy = {"allow_partial": allow_partial, "confirm": confirm, "order": order}
    fingerprint = identity.create_fingerprint(customer, merged, hold_time, **policy)
    return Create(UUID(int=number), customer, merged, hold_time, fingerprint=fingerprint, **policy)


def hold(
    number: int, quantity: int = 1, customer: str = "ann", age: float = 10, lasts: float = 120, **facts: object
) -> Reservation:
    """Return a hold of shoes that was created `age` seconds before noon."""
    request = create(number, quantity, customer)
    created_at = NOON - seconds(age)
    reservation = Reservation(
        reservation_id=request.reservation_id,
        customer=customer,
        lines=request.lines,
        returned=(),
        state=ReservationState.HELD,
        created_at=created_at,
        expires_at=created_at + seconds(lasts),
        ended_at=None,
        order="",
        fingerprint=request.fingerprint,
    )
    return reservation._replace(**facts)


def ended(number: int, state: ReservationState, quantity: int = 1, order: str = "", **facts: object) -> Reservation:
    """Return a reservation that was held three minutes before noon and has ended since."""
    return hold(number, quantity, age=180, state=state, ended_at=NOON - seconds(60), order=order, **facts)


def confirm(number: int, order: str = "", allow_late: bool = False, customer: str = "") -> Confirm:
    return Confirm(UUID(int=number), order, allow_late, customer)


def release(number: int, customer: str = "") -> Release:
    return Release(UUID(int=number), customer)


def extend(number: int, expires_at: datetime, customer: str = "") -> Extend:
    return Extend(UUID(int=number), expires_at, customer)


def adjust(
    number: int,
    delta: int,
    reason: AdjustReason = AdjustReason.COUNTED,
    expected_version: int | None = None,
    item_id: str = "shoe",
) -> Adjust:
    fingerprint = identity.adjust_fingerprint(item_id, delta, reason, expected_version)
    return Adjust(UUID(int=number), item_id, delta, reason, expected_version, "clerk", fingerprint)


def take_back(
    number: int,
    reservation: int,
    quantity: int = 0,
    lines: tuple[Line, ...] = (),
    restock: bool = True,
    reason: AdjustReason = AdjustReason.RETURNED,
    customer: str = "",
) -> Return:
    lines = lines or ((Line("shoe", quantity),) if quantity else ())
    fingerprint = identity.return_fingerprint(UUID(int=reservation), lines, reason, restock=restock)
    return Return(UUID(int=number), UUID(int=reservation), lines, restock, reason, customer, "clerk", fingerprint)
