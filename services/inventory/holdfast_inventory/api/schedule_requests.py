"""Checks requests of SaleService about schedules, and converts them to the domain's types."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal

from holdfast.inventory.v1 import sale_pb2
from holdfast.inventory.v1 import sale_service_pb2 as pb
from holdfast_chassis.field_rules import rules_at
from holdfast_inventory.api.checks import Checking, Checks
from holdfast_inventory.api.sale_requests import ListRequest, changes_page, list_page, sale_rules
from holdfast_inventory.domain.calendar import Calendar, broken_cron, is_time_zone
from holdfast_inventory.domain.schedule import (
    EPOCH,
    LATE_LEAD,
    LONGEST_PERIOD,
    MIN_OPEN_DURATION,
    MIN_PERIOD,
    NO_OFFSET,
    Period,
    Remainder,
    Schedule,
    broken_rules,
    until_the_next,
)

_EVERY_MINUTE, _UTC = "* * * * *", "UTC"
_FIELD: Final = "sale_schedule"
_CALENDAR = sale_pb2.SaleSchedule.Calendar.DESCRIPTOR
MAX_EXCLUDED_DATES: int = rules_at(_CALENDAR, "exclude_dates").repeated.max_items
_match_cron = re.compile(rules_at(_CALENDAR, "cron").string.pattern).fullmatch
_match_time_zone = re.compile(rules_at(_CALENDAR, "time_zone").string.pattern).fullmatch
_match_date = re.compile(rules_at(_CALENDAR, "exclude_dates").repeated.items.string.pattern).fullmatch


def create_schedule(request: pb.CreateSaleScheduleRequest) -> Schedule:
    """Check a schedule to create. The database sets its creation time."""
    with Checking() as checks:
        schedule_id = checks.schedule_id("schedule_id", request.schedule_id)
        if not request.HasField(_FIELD):
            checks.violated(_FIELD, "must be set")
        values = _values(checks, request.sale_schedule, _UPDATABLE)
        schedule = until_the_next(Schedule(schedule_id=schedule_id, created_at=EPOCH, **values))
        checks.broken(broken_rules(schedule, _FIELD))
    return schedule


def update_schedule(request: pb.UpdateSaleScheduleRequest) -> tuple[str, Mapping[str, Any]]:
    """Check new values of a schedule. Return its id, and the values by the attributes of `Schedule`.

    Without a mask they are the fields that are set. A field in the mask that is not set gets its default.
    """
    with Checking() as checks:
        if not request.HasField(_FIELD):
            checks.violated(_FIELD, "must be set")
        schedule_id = checks.schedule(f"{_FIELD}.name", request.sale_schedule.name)
        return schedule_id, _values(checks, request.sale_schedule, _masked(checks, request))


def run_schedule(request: pb.RunSaleScheduleRequest) -> tuple[str, str]:
    """Check a run. Return the schedule's id and the request id."""
    with Checking() as checks:
        return checks.schedule("name", request.name), checks.request_id("request_id", request.request_id)


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


def _masked(checks: Checks, request: pb.UpdateSaleScheduleRequest) -> Sequence[str]:
    paths = request.update_mask.paths
    if not paths:
        return [field.name for field, _ in request.sale_schedule.ListFields() if field.name in _UPDATABLE]
    if "*" in paths:
        return tuple(_UPDATABLE)
    for index, path in enumerate(paths):
        if path not in _UPDATABLE:
            checks.violated(f"update_mask.paths[{index}]", f"must be one of {', '.join(_UPDATABLE)}")
    return [path for path in paths if path in _UPDATABLE]


def _values(checks: Checks, given: sale_pb2.SaleSchedule, fields: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for check in dict.fromkeys(_UPDATABLE[field] for field in fields):
        values |= check(checks, given)
    return values


def _recurrence(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
    if not given.HasField("calendar"):
        return {"recurrence": Period(_period(checks, given))}
    if given.HasField("period"):
        _period(checks, given)
        checks.violated(f"{_FIELD}.period", "must not be set together with calendar")
    return {"recurrence": _calendar(checks, given.calendar)}


def _calendar(checks: Checks, given: sale_pb2.SaleSchedule.Calendar) -> Calendar:
    field = f"{_FIELD}.calendar"
    excluded_dates = _excluded_dates(checks, f"{field}.exclude_dates", given)
    calendar = Calendar(
        _cron(checks, f"{field}.cron", given.cron),
        _time_zone(checks, f"{field}.time_zone", given.time_zone),
        excluded_dates,
    )
    if calendar.next_after(EPOCH) is None:
        checks.violated(f"{field}.cron", "must match a date: none does for decades")
    return calendar


def _cron(checks: Checks, field: str, expression: str) -> str:
    if _match_cron(expression) is None:
        checks.violated(field, "must be five fields of cron, separated by one space")
    elif broken := broken_cron(expression):
        checks.violated(field, broken)
    else:
        return expression
    return _EVERY_MINUTE


def _time_zone(checks: Checks, field: str, name: str) -> str:
    if _match_time_zone(name) is None:
        checks.violated(field, "must be the name of a time zone, such as Europe/Berlin")
    elif not is_time_zone(name):
        checks.violated(field, "must be in IANA's database of time zones")
    else:
        return name
    return _UTC


def _excluded_dates(checks: Checks, field: str, given: sale_pb2.SaleSchedule.Calendar) -> tuple[date, ...]:
    if len(given.exclude_dates) > MAX_EXCLUDED_DATES:
        checks.violated(field, f"must be at most {MAX_EXCLUDED_DATES} dates")
        return ()
    dates = [_date(checks, f"{field}[{index}]", text) for index, text in enumerate(given.exclude_dates)]
    return tuple(sorted(set(dates)))


def _date(checks: Checks, field: str, text: str) -> date:
    try:
        if _match_date(text) is not None:
            return date.fromisoformat(text)
    except ValueError:
        pass
    checks.violated(field, "must be a date, YYYY-MM-DD")
    return EPOCH.date()


def _period(checks: Checks, given: sale_pb2.SaleSchedule) -> timedelta:
    field = f"{_FIELD}.period"
    if not given.HasField("period"):
        checks.violated(field, "must be set, or calendar")
        return MIN_PERIOD
    period = checks.duration(field, given.period, MIN_PERIOD, LONGEST_PERIOD)
    if given.period.nanos:
        checks.violated(field, "must be a whole number of seconds")
    return period


def _offset(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
    offset = checks.duration(f"{_FIELD}.offset", given.offset, NO_OFFSET, LONGEST_PERIOD)
    if given.offset.nanos:
        checks.violated(f"{_FIELD}.offset", "must be a whole number of seconds")
    return {"offset": offset}


def _duration(
    name: Literal["open_duration", "lead_time"], least: timedelta
) -> Callable[[Checks, sale_pb2.SaleSchedule], dict[str, Any]]:
    def check(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
        if not given.HasField(name):
            return {name: None}
        return {name: checks.duration(f"{_FIELD}.{name}", getattr(given, name), least, LONGEST_PERIOD)}

    return check


def _time(
    name: Literal["start_time", "end_time"], attribute: str
) -> Callable[[Checks, sale_pb2.SaleSchedule], dict[str, Any]]:
    def check(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
        if not given.HasField(name):
            return {attribute: None}
        return {attribute: checks.timestamp(f"{_FIELD}.{name}", getattr(given, name))}

    return check


def _template(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
    if not given.HasField("template"):
        checks.violated(f"{_FIELD}.template", "must be set")
    rules = sale_rules(checks, f"{_FIELD}.template", given.template)._asdict()
    return {name: value for name, value in rules.items() if name not in _NOT_IN_TEMPLATES}


def _source_sale(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
    return {"source_sale_id": checks.sale(f"{_FIELD}.source_sale", given.source_sale) if given.source_sale else None}


def _remainder(checks: Checks, given: sale_pb2.SaleSchedule) -> dict[str, Any]:
    return {"remainder": checks.choice(f"{_FIELD}.remainder", given.remainder, Remainder) or Remainder.STAY}


_NOT_IN_TEMPLATES = {"display_name", "labels"}

_UPDATABLE: Mapping[str, Callable[[Checks, sale_pb2.SaleSchedule], dict[str, Any]]] = {
    "period": _recurrence,
    "calendar": _recurrence,
    "offset": _offset,
    "open_duration": _duration("open_duration", MIN_OPEN_DURATION),
    "start_time": _time("start_time", "start_at"),
    "end_time": _time("end_time", "end_at"),
    "lead_time": _duration("lead_time", LATE_LEAD),
    "template": _template,
    "source_sale": _source_sale,
    "remainder": _remainder,
}
"""The fields that callers set, and the check of each, which returns values by the attributes of `Schedule`."""
