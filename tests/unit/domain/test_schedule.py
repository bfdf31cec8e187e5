from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.domain.schedule import occurrence, occurrence_id, opening_at_or_before, wanted_openings
from tests.support.shopping import HOUR, hourly

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("minute", [0, 1, 30, 59])
def test_openings_are_on_the_hour_whatever_the_minute(minute):
    assert opening_at_or_before(hourly(), NOON + minute * MINUTE) == NOON


@pytest.mark.parametrize(
    ("minute", "ahead", "wanted"),
    [
        (0, 0, [0]),
        (29, 0, [0]),
        (30, 0, []),
        (30, 30, [60]),
        (45, 14, []),
        (45, 15, [60]),
        (10, 60, [0, 60]),
    ],
)
def test_the_present_window_and_the_near_next_one_are_wanted(minute, ahead, wanted):
    schedule = hourly(open_duration=HOUR / 2)

    openings = wanted_openings(schedule, NOON + minute * MINUTE, ahead * MINUTE)

    assert openings == [NOON + offset * MINUTE for offset in wanted]


def test_an_occurrence_is_an_ordinary_sale_that_knows_its_schedule():
    schedule = hourly("drop", open_duration=HOUR / 2, socks=3)

    sale = occurrence(schedule, NOON)

    assert sale.sale_id == "drop-20260701t120000z" == occurrence_id(schedule, NOON)
    assert (sale.open_at, sale.close_at, sale.schedule_id) == (NOON, NOON + HOUR / 2, "drop")
    assert sale.items == schedule.items
