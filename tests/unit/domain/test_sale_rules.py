"""Rules of a sale and of a schedule that contradict each other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast_inventory.domain import schedule as schedules
from holdfast_inventory.domain.errors import InvalidRequest
from holdfast_inventory.domain.sale import NewItem, NewSale, SaleChanges, broken_rules, hold_times, repeated_items
from holdfast_inventory.domain.schedule import EPOCH, Period, Remainder, Schedule
from tests.unit.domain.stage import NOON, reading

MINUTE = timedelta(minutes=1)
NEW = NewSale("drop", NOON, NOON + MINUTE, 0, MINUTE, 2 * MINUTE, (NewItem("cap", 1, 0),))
HOURLY = Schedule(
    "hourly",
    Period(60 * MINUTE),
    60 * MINUTE,
    0,
    MINUTE,
    2 * MINUTE,
    (NewItem("cap", 1, 0),),
    None,
    Remainder.STAY,
    EPOCH,
)


def broken(rules):
    return [violation.field for violation in rules]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"close_at": NOON}, ["sale.close_time"]),
        ({"open_at": None, "close_at": NOON}, []),
        ({"close_at": None}, []),
        ({"hold_time": 3 * MINUTE}, ["sale.hold_time"]),
        ({"hold_time": 2 * MINUTE}, []),
        ({"close_at": NOON, "hold_time": 3 * MINUTE}, ["sale.close_time", "sale.hold_time"]),
    ],
)
def test_rules_of_a_sale(changes, fields):
    assert broken(broken_rules(replace(NEW, **changes), "sale")) == fields


def test_an_item_is_named_once():
    items = [NewItem(item_id, 1, 0) for item_id in ("cap", "hat", "cap", "cap")]
    assert broken(repeated_items(items, "sale")) == ["sale.items[2].item", "sale.items[3].item"]


def test_new_rules_have_to_fit_to_those_that_stay():
    before = reading().sale
    changes = SaleChanges(close_at=before.open_at, hold_time=before.max_hold_time + MINUTE)
    with pytest.raises(InvalidRequest) as refused:
        changes.applied_to(before)
    assert broken(refused.value.violations) == ["sale.close_time", "sale.hold_time"]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"open_duration": 61 * MINUTE}, ["sale_schedule.open_duration"]),
        ({"remainder": Remainder.RETURN}, ["sale_schedule.source_sale"]),
        ({"remainder": Remainder.RETURN, "source_sale_id": "main"}, []),
        ({"hold_time": 3 * MINUTE}, ["sale_schedule.template.hold_time"]),
        ({"items": (NewItem("cap", 1, 0),) * 2}, ["sale_schedule.template.items[1].item"]),
    ],
)
def test_rules_of_a_schedule(changes, fields):
    assert broken(schedules.broken_rules(replace(HOURLY, **changes), "sale_schedule")) == fields


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None), (120, 900)),
        ((None, 60), (60, 60)),
        ((None, 3600), (120, 3600)),
        ((60, None), (60, 900)),
        ((3600, None), (3600, 3600)),
        ((60, 30), (60, 30)),
    ],
)
def test_a_hold_time_that_is_not_given_fits_to_the_other(given, expected):
    seconds = [None if each is None else timedelta(seconds=each) for each in given]
    assert hold_times(*seconds) == tuple(timedelta(seconds=each) for each in expected)
