"""Checks requests of SaleService about schedules, and converts them to the domain's types."""

from datetime import timedelta

from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as pb
from holdfast_inventory.api.checks import Checking, Checks
from holdfast_inventory.api.sale_requests import ListRequest, changes_page, list_page, sale_rules
from holdfast_inventory.domain.schedule import (
    EPOCH,
    LONGEST_PERIOD,
    MIN_OPEN_DURATION,
    MIN_PERIOD,
    Remainder,
    Schedule,
    broken_rules,
)


def create_schedule(request: pb.CreateSaleScheduleRequest) -> Schedule:
    """Check a schedule to create. The database sets its creation time."""
    with Checking() as checks:
        schedule_id = checks.schedule_id("schedule_id", request.schedule_id)
        if not request.HasField("sale_schedule"):
            checks.violated("sale_schedule", "must be set")
        given = request.sale_schedule
        period = _period(checks, given)
        rules = sale_rules(checks, "sale_schedule.template", given.template)
        schedule = Schedule(
            schedule_id=schedule_id,
            period=period,
            open_duration=_open_duration(checks, given, period),
            per_customer_limit=rules.per_customer_limit,
            hold_time=rules.hold_time,
            max_hold_time=rules.max_hold_time,
            items=rules.items,
            source_sale_id=checks.sale("sale_schedule.source_sale", given.source_sale) if given.source_sale else None,
            remainder=checks.choice("sale_schedule.remainder", given.remainder, Remainder) or Remainder.STAY,
            created_at=EPOCH,
            shop_confirms=rules.shop_confirms,
            admission_required=rules.admission_required,
            early_access=rules.early_access,
        )
        checks.broken(broken_rules(schedule, "sale_schedule"))
        if not given.HasField("template"):
            checks.violated("sale_schedule.template", "must be set")
    return schedule


def schedule_name(name: str) -> str:
    """Check a request that only has a schedule's name. Return the schedule's id."""
    with Checking() as checks:
        return checks.schedule("name", name)


def list_schedules(request: pb.ListSaleSchedulesRequest) -> ListRequest:
    """Check a list of schedules."""
    with Checking() as checks:
        return list_page(checks, request, "schedules")


def list_changes(request: pb.ListSaleScheduleChangesRequest) -> tuple[str, int, ListRequest]:
    """Check a list of a schedule's changes. Return its id, the number after which the page begins, and the page."""
    with Checking() as checks:
        return checks.schedule("parent", request.parent), *changes_page(checks, request)


def _period(checks: Checks, given: sale_pb2.SaleSchedule) -> timedelta:
    field = "sale_schedule.period"
    if not given.HasField("period"):
        checks.violated(field, "must be set")
        return MIN_PERIOD
    period = checks.duration(field, given.period, MIN_PERIOD, LONGEST_PERIOD)
    if given.period.nanos:
        checks.violated(field, "must be a whole number of seconds")
    return period


def _open_duration(checks: Checks, given: sale_pb2.SaleSchedule, period: timedelta) -> timedelta:
    if not given.HasField("open_duration"):
        return period
    return checks.duration("sale_schedule.open_duration", given.open_duration, MIN_OPEN_DURATION, LONGEST_PERIOD)
