"""Sales and commands for tests of the ledger."""

import uuid
from datetime import UTC, datetime, timedelta

from holdfast_inventory.domain.commands import Adjust, Confirm, Create, Release, Return
from holdfast_inventory.domain.movement import AdjustReason
from holdfast_inventory.domain.reservation import Line
from holdfast_inventory.domain.sale import NewItem, NewSale
from holdfast_inventory.domain.schedule import Period, Remainder, Schedule

HOUR = timedelta(hours=1)


def new_sale(
    sale_id="drop",
    *,
    limit=0,
    open_at=None,
    close_at=None,
    schedule_id=None,
    item_limit=0,
    hold_seconds=120,
    **on_hand,
):
    return NewSale(
        sale_id=sale_id,
        open_at=open_at,
        close_at=close_at,
        per_customer_limit=limit,
        hold_time=timedelta(seconds=hold_seconds),
        max_hold_time=timedelta(seconds=900),
        items=tuple(NewItem(item_id, units, item_limit) for item_id, units in on_hand.items()),
        schedule_id=schedule_id,
    )


def hold(customer="c-1", *, hold_time=None, confirm=False, **quantities):
    return Create(
        reservation_id=uuid.uuid4(),
        customer=customer,
        lines=tuple(Line(item_id, quantity) for item_id, quantity in sorted(quantities.items())),
        hold_time=hold_time,
        allow_partial=False,
        confirm=confirm,
        order="",
        fingerprint=b"meaning",
        bound=False,
    )


def confirm(reservation, *, allow_late=False):
    return Confirm(reservation.reservation_id, order="o-1", allow_late=allow_late, customer="")


def release(reservation):
    return Release(reservation.reservation_id, customer="")


def take_back(reservation, *, restock=True, **quantities):
    lines = tuple(Line(item_id, quantity) for item_id, quantity in sorted(quantities.items()))
    reason = AdjustReason.RETURNED
    return Return(uuid.uuid4(), reservation.reservation_id, lines, restock, reason, "", "stock clerk", b"meaning")


def adjust(item_id, delta):
    return Adjust(uuid.uuid4(), item_id, delta, AdjustReason.COUNTED, None, "stock clerk", b"meaning")


def hourly(schedule_id="hourly", *, source=None, remainder=Remainder.STAY, open_duration=HOUR, **on_hand):
    return Schedule(
        schedule_id=schedule_id,
        recurrence=Period(HOUR),
        open_duration=open_duration,
        per_customer_limit=2,
        hold_time=timedelta(seconds=60),
        max_hold_time=timedelta(seconds=120),
        items=tuple(NewItem(item_id, units, 1) for item_id, units in on_hand.items()),
        source_sale_id=source,
        remainder=remainder,
        created_at=datetime(2000, 1, 1, tzinfo=UTC),
    )
