"""A sale's state depends on its times, its flags and the clock."""

from dataclasses import replace

import pytest

from holdfast_inventory.domain.sale import SaleState
from tests.unit.domain.stage import NOON, SALE, seconds


@pytest.mark.parametrize(
    ("rules", "state"),
    [
        ({}, SaleState.OPEN),
        ({"open_at": NOON}, SaleState.OPEN),
        ({"close_at": None}, SaleState.OPEN),
        ({"open_at": NOON + seconds(1)}, SaleState.SCHEDULED),
        ({"open_at": NOON + seconds(1), "paused": True}, SaleState.SCHEDULED),
        ({"paused": True}, SaleState.PAUSED),
        ({"close_at": NOON}, SaleState.CLOSED),
        ({"close_at": NOON, "paused": True}, SaleState.CLOSED),
        ({"cancelled_at": NOON}, SaleState.CANCELLED),
        ({"cancelled_at": NOON, "close_at": NOON, "paused": True}, SaleState.CANCELLED),
    ],
)
def test_a_sales_state_at_noon(rules, state):
    assert state is replace(SALE, **rules).state_at(NOON)
