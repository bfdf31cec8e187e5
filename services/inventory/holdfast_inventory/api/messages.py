"""Converts the domain's values to the protos' messages."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1 import (
    movement_pb2,
    reservation_service_pb2,
    sale_pb2,
    sale_service_pb2,
    webhook_service_pb2,
)
from holdfast_inventory.api.names import (
    delivery_name,
    item_name,
    reservation_name,
    sale_name,
    schedule_name,
    webhook_name,
)
from holdfast_inventory.domain.calendar import Calendar
from holdfast_inventory.domain.change import Change, ChangeKind
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.labels import labels_of
from holdfast_inventory.domain.movement import AdjustReason, Movement, MovementKind
from holdfast_inventory.domain.reservation import Reservation, ReservationState
from holdfast_inventory.domain.sale import NewItem, Sale, SaleState
from holdfast_inventory.domain.schedule import Period, Remainder, Schedule, next_openings
from holdfast_inventory.domain.webhook import Delivery, DeliveryState, Message, Webhook

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS_PER_DAY = 86_400
_NANOS_PER_MICROSECOND = 1_000
_NEXT_OPENINGS = 5

# By name, so that a choice that is missing in the protos fails at import.
_RESERVATION_STATES = {state: reservation_service_pb2.Reservation.State.Value(state.name) for state in ReservationState}
_SALE_STATES = {state: sale_pb2.Sale.State.Value(state.name) for state in SaleState}
_CHANGE_KINDS = {kind: sale_service_pb2.SaleChange.Kind.Value(kind.name) for kind in ChangeKind}
_MOVEMENT_KINDS = {kind: movement_pb2.Movement.Kind.Value(kind.name) for kind in MovementKind}
# Only some movements have one.
_ADJUST_REASONS: dict[AdjustReason | None, movement_pb2.Movement.AdjustReason.ValueType | None] = {
    None: None,
    **{reason: movement_pb2.Movement.AdjustReason.Value(reason.name) for reason in AdjustReason},
}
_DELIVERY_STATES = {state: webhook_service_pb2.WebhookDelivery.State.Value(state.name) for state in DeliveryState}
_REMAINDERS = {remainder: sale_pb2.SaleSchedule.Remainder.Value(remainder.name) for remainder in Remainder}


def timestamp(moment: datetime) -> Timestamp:
    """Return a Timestamp; exact, and several times faster than FromDatetime."""
    message = Timestamp()
    _set(message, moment)
    return message


def duration(span: timedelta) -> Duration:
    """Return a Duration that is not negative."""
    return Duration(
        seconds=span.days * _SECONDS_PER_DAY + span.seconds, nanos=span.microseconds * _NANOS_PER_MICROSECOND
    )


def reservation(sale_id: str, known: Reservation) -> reservation_service_pb2.Reservation:
    """Return a reservation of a sale."""
    message = reservation_service_pb2.Reservation()
    fill_reservation(message, sale_id, known)
    return message


def fill_reservation(message: reservation_service_pb2.Reservation, sale_id: str, known: Reservation) -> None:
    """Make an empty message a reservation of a sale: half the time of messages that are copied into others."""
    message.name = reservation_name(sale_id, known.reservation_id)
    message.customer = known.customer
    message.state = _RESERVATION_STATES[known.state]
    if known.order:
        message.order = known.order
    add_line = message.lines.add
    for item_id, quantity in known.lines:
        add_line(item=item_id, quantity=quantity)
    for item_id, quantity in known.returned:
        message.returned_lines.add(item=item_id, quantity=quantity)
    _set(message.create_time, known.created_at)
    _set(message.expire_time, known.expires_at)
    if known.ended_at is not None:
        _set(message.end_time, known.ended_at)
    if known.notes is not None:
        json_format.ParseDict(json.loads(known.notes), message)


def item(sale_id: str, known: Item) -> sale_pb2.Item:
    """Return an item of a sale."""
    return sale_pb2.Item(
        name=item_name(sale_id, known.item_id),
        item=known.item_id,
        on_hand=known.on_hand,
        held=known.held,
        available=known.available,
        sold=known.sold,
        per_customer_limit=known.per_customer_limit,
        version=known.version,
        display_name=known.display_name,
        labels=labels_of(known.labels),
    )


def sale(known: Sale, state: SaleState) -> sale_pb2.Sale:
    """Return a sale in its state."""
    return sale_pb2.Sale(
        name=sale_name(known.sale_id),
        open_time=timestamp(known.open_at),
        close_time=None if known.close_at is None else timestamp(known.close_at),
        per_customer_limit=known.per_customer_limit,
        hold_time=duration(known.hold_time),
        max_hold_time=duration(known.max_hold_time),
        state=_SALE_STATES[state],
        create_time=timestamp(known.created_at),
        update_time=timestamp(known.updated_at),
        cancel_time=None if known.cancelled_at is None else timestamp(known.cancelled_at),
        schedule="" if known.schedule_id is None else schedule_name(known.schedule_id),
        sequence=known.sequence,
        shop_confirms=known.shop_confirms,
        admission_required=known.admission_required,
        early_access=duration(known.early_access) if known.early_access else None,
        etag=known.etag,
        display_name=known.display_name,
        labels=labels_of(known.labels),
    )


def movement(sale_id: str, known: Movement) -> movement_pb2.Movement:
    """Return a movement of a sale."""
    return movement_pb2.Movement(
        sequence=known.sequence,
        kind=_MOVEMENT_KINDS[known.kind],
        item=known.item_id,
        on_hand_delta=known.on_hand_delta,
        held_delta=known.held_delta,
        sold_delta=known.sold_delta,
        reservation="" if known.reservation_id is None else reservation_name(sale_id, known.reservation_id),
        reason=_ADJUST_REASONS[known.reason],
        actor=known.actor,
        create_time=timestamp(known.created_at),
    )


def change(known: Change) -> sale_service_pb2.SaleChange:
    """Return a change of a sale or of a schedule."""
    return sale_service_pb2.SaleChange(
        number=known.number,
        kind=_CHANGE_KINDS[known.kind],
        actor=known.cause.actor,
        request_id=known.cause.request_id,
        fields=[
            sale_service_pb2.SaleChange.Field(field=field, old_value=old_value, new_value=new_value)
            for field, old_value, new_value in known.fields
        ],
        create_time=timestamp(known.created_at),
    )


def schedule(known: Schedule, now: datetime) -> sale_pb2.SaleSchedule:
    """Return a schedule, with its next openings after `now`."""
    recurrence = known.recurrence
    calendar = recurrence if isinstance(recurrence, Calendar) else None
    return sale_pb2.SaleSchedule(
        name=schedule_name(known.schedule_id),
        period=duration(recurrence.length) if isinstance(recurrence, Period) else None,
        calendar=None if calendar is None else _calendar(calendar),
        offset=duration(known.offset) if known.offset else None,
        open_duration=None if known.open_duration is None else duration(known.open_duration),
        start_time=None if known.start_at is None else timestamp(known.start_at),
        end_time=None if known.end_at is None else timestamp(known.end_at),
        lead_time=None if known.lead_time is None else duration(known.lead_time),
        template=_template(known),
        source_sale="" if known.source_sale_id is None else sale_name(known.source_sale_id),
        remainder=_REMAINDERS[known.remainder],
        paused=known.paused,
        create_time=timestamp(known.created_at),
        update_time=timestamp(known.updated_at),
        next_open_times=map(timestamp, next_openings(known, now, _NEXT_OPENINGS)),
    )


def _calendar(known: Calendar) -> sale_pb2.SaleSchedule.Calendar:
    return sale_pb2.SaleSchedule.Calendar(
        cron=known.cron,
        time_zone=known.time_zone,
        exclude_dates=[day.isoformat() for day in known.excluded_dates],
    )


def _template(known: Schedule) -> sale_pb2.Sale:
    return sale_pb2.Sale(
        per_customer_limit=known.per_customer_limit,
        hold_time=duration(known.hold_time),
        max_hold_time=duration(known.max_hold_time),
        items=[_template_item(new) for new in known.items],
        shop_confirms=known.shop_confirms,
        admission_required=known.admission_required,
        early_access=duration(known.early_access) if known.early_access else None,
    )


def webhook(known: Webhook) -> webhook_service_pb2.Webhook:
    """Return a webhook without its secret."""
    target, old_secret_until = known.target, known.old_secret_until
    return webhook_service_pb2.Webhook(
        name=webhook_name(known.webhook_id),
        url=target.url,
        kinds=sorted(_MOVEMENT_KINDS[kind] for kind in target.kinds),
        sale="" if target.sale_id is None else sale_name(target.sale_id),
        schedule="" if target.schedule_id is None else schedule_name(target.schedule_id),
        paused=known.paused,
        old_secret_expire_time=None if old_secret_until is None else timestamp(old_secret_until),
        create_time=timestamp(known.created_at),
        update_time=timestamp(known.updated_at),
    )


def webhook_with_secret(known: Webhook) -> webhook_service_pb2.Webhook:
    """Return a webhook with its secret, in the form of Standard Webhooks."""
    message = webhook(known)
    message.secret = f"whsec_{b64encode(known.secret).decode()}"
    return message


def delivery(known: Delivery) -> webhook_service_pb2.WebhookDelivery:
    """Return how far a sale's movements were delivered to a webhook."""
    retry_at = known.due_at if known.state is DeliveryState.RETRYING else None
    return webhook_service_pb2.WebhookDelivery(
        name=delivery_name(known.webhook_id, known.sale_id),
        sale=sale_name(known.sale_id),
        state=_DELIVERY_STATES[known.state],
        delivered_sequence=known.position,
        failed_attempts=known.attempts,
        failure=known.failure,
        first_failure_time=None if known.failing_since is None else timestamp(known.failing_since),
        next_attempt_time=None if retry_at is None else timestamp(retry_at),
    )


def webhook_body(known: Message) -> str:
    """Return the body of a message to a webhook: protobuf's JSON, as REST answers have it."""
    return json_format.MessageToJson(_webhook_message(known), always_print_fields_with_no_presence=True, indent=None)


def _webhook_message(known: Message) -> webhook_service_pb2.WebhookMessage:
    return webhook_service_pb2.WebhookMessage(
        type="sale.movements",
        timestamp=timestamp(known.movements[-1].created_at),
        data=webhook_service_pb2.MovementsMade(
            sale=sale_name(known.sale_id),
            after_sequence=known.after,
            sequence=known.through,
            movements=[movement(known.sale_id, each) for each in known.movements],
        ),
    )


def _set(message: Timestamp, moment: datetime) -> None:
    span = moment - _EPOCH
    message.seconds = span.days * _SECONDS_PER_DAY + span.seconds
    message.nanos = span.microseconds * _NANOS_PER_MICROSECOND


def _template_item(new: NewItem) -> sale_pb2.Item:
    return sale_pb2.Item(item=new.item_id, on_hand=new.on_hand, per_customer_limit=new.per_customer_limit)
