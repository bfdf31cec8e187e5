"""Converts reports to the protos' messages."""

from datetime import datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from holdfast.inventory.v1.refusal_pb2 import Refusal
from holdfast.inventory.v1.report_pb2 import CustomerRefusal, SaleReport
from holdfast.inventory.v1.reservation_service_pb2 import Line
from holdfast_inventory.api.messages import duration, timestamp
from holdfast_inventory.api.names import sale_name
from holdfast_inventory.domain import refusal
from holdfast_inventory.domain import report as domain

_REASONS = dict(Refusal.Reason.items())


def sale_report(sale_id: str, known: domain.SaleReport) -> SaleReport:
    """Return the report of a sale."""
    sums = known.sums
    message = SaleReport(
        sale=sale_name(sale_id),
        sequence=sums.sequence,
        sale_sequence=known.sequence,
        report_time=timestamp(known.report_at),
        units=_units(known.units),
        items=[
            SaleReport.ItemReport(
                item=item.item_id,
                units=_units(item.units),
                sell_out_time=_time(item.sell_out_at),
                time_to_sell_out=_time_to(known, item.sell_out_at),
            )
            for item in sums.items
        ],
        sell_out_time=_time(known.sell_out_at),
        time_to_sell_out=_time_to(known, known.sell_out_at),
        customers=sums.customers,
        curve_interval=duration(sums.interval),
        refusals=[
            SaleReport.RefusalCount(reason=_reason(reason), refusals=refusals)
            for reason, refusals in known.refusals.counts
        ],
        refusal_interval=duration(known.refusals.interval),
        refusal_curve=[
            SaleReport.RefusalInterval(start_time=timestamp(start_at), refusals=refusals)
            for start_at, refusals in known.refusals.curve
        ],
    )
    for start_at, reserved, confirmed in known.curve:
        message.curve.add(start_time=timestamp(start_at), reserved=reserved, confirmed=confirmed)
    return message


def customer_refusal(known: refusal.CustomerRefusal) -> CustomerRefusal:
    """Return a customer's refusals for one reason."""
    return CustomerRefusal(
        reason=_reason(known.reason),
        refusals=known.refusals,
        first_time=timestamp(known.first_at),
        last_time=timestamp(known.last_at),
        lines=[Line(item=item_id, quantity=quantity) for item_id, quantity in known.lines],
    )


def _reason(name: str) -> Refusal.Reason.ValueType:
    # After a roll back there may be reasons that this version does not know.
    return _REASONS.get(name, Refusal.REASON_UNSPECIFIED)


def _units(units: domain.Units) -> SaleReport.Units:
    return SaleReport.Units(**units._asdict(), sold=units.sold)


def _time(at: datetime | None) -> Timestamp | None:
    return None if at is None else timestamp(at)


def _time_to(known: domain.SaleReport, at: datetime | None) -> Duration | None:
    return None if at is None else duration(known.time_to(at))
