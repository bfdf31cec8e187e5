from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from holdfast_inventory.domain.errors import Shortage
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.stock import sold_out
from holdfast_inventory.stock.sold_out import SoldOut
from tests.support.shopping import hold

NOW = datetime(2026, 11, 27, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SALE = Sale("drop", NOW, None, 0, MINUTE, MINUTE, False, None, NOW, NOW, None, 1, b"salt", False)


ENDS = {"socks": NOW + MINUTE, "shoes": NOW + MINUTE / 2}


def item(item_id, on_hand, held=0):
    return Item(item_id, on_hand, held, 0, 0, 1)


@pytest.fixture
def memory():
    memory = SoldOut(max_age_seconds=0.2)
    memory.on_read(100.0, SALE, NOW, [item("socks", 5, held=3), item("shoes", 1, held=1)], ENDS)
    return memory


def test_nothing_is_known_of_a_sale_that_was_not_read(memory):
    assert memory.refusal("other", hold(socks=9), 100.0) is None


def test_what_is_there_is_never_refused(memory):
    assert memory.refusal("drop", hold(socks=2), 100.0) is None
    assert memory.refusal("drop", hold(hats=9), 100.0) is None


def test_each_line_that_is_short_is_reported(memory):
    refusal = memory.refusal("drop", hold(shoes=1, socks=3), 100.1)

    assert refusal.shortages == (Shortage("shoes", 1, 0), Shortage("socks", 3, 2))


def test_a_retry_is_reported_of_the_moment_at_which_a_hold_ends(memory):
    assert memory.refusal("drop", hold(shoes=1), 100.1).retry_after_seconds == pytest.approx(29.9)
    assert memory.refusal("drop", hold(shoes=1, socks=3), 100.1).retry_after_seconds == pytest.approx(59.9)
    assert memory.refusal("drop", hold(shoes=2), 100.1).retry_after_seconds is None


def test_a_shortage_whose_end_is_not_known_is_left_to_the_lock(memory):
    memory.on_read(100.1, SALE, NOW, [item("shoes", 1, held=1), item("hats", 0)], {})

    assert memory.refusal("drop", hold(shoes=1), 100.1) is None
    assert memory.refusal("drop", hold(hats=1), 100.1) is not None


def test_what_is_remembered_is_forgotten_in_time(memory):
    assert memory.refusal("drop", hold(shoes=1), 100.19) is not None
    assert memory.refusal("drop", hold(shoes=1), 100.21) is None


def test_one_who_takes_what_there_is_always_asks(memory):
    assert memory.refusal("drop", hold(socks=3)._replace(allow_partial=True), 100.0) is None


def test_a_later_read_replaces_an_earlier_one(memory):
    memory.on_read(100.1, SALE, NOW, [item("shoes", 1)], {})

    assert memory.refusal("drop", hold(shoes=1), 100.1) is None


def test_a_sale_that_changed_elsewhere_is_forgotten(memory):
    memory.forget("drop")
    memory.forget("never known")

    assert memory.refusal("drop", hold(shoes=1), 100.0) is None


@pytest.mark.parametrize(
    "rules", [{"paused": True}, {"cancelled_at": NOW}, {"close_at": NOW + MINUTE / 600}, {"limits_customers": True}]
)
def test_what_comes_before_stock_is_left_to_the_lock(memory, rules):
    """Paused, cancelled, or over by now; and a customer's use is not remembered."""
    memory.on_read(100.0, replace(SALE, **rules), NOW, [item("shoes", 0)], {})

    assert memory.refusal("drop", hold(shoes=1), 100.1) is None


def test_a_line_that_is_not_remembered_is_left_to_the_lock(memory):
    assert memory.refusal("drop", hold(shoes=1, unicorn=1), 100.1) is None


def test_a_hold_that_would_last_too_long_is_left_to_the_lock(memory):
    assert memory.refusal("drop", hold(shoes=1, hold_time=2 * MINUTE), 100.1) is None


def test_no_more_sales_are_remembered_than_there_may_be(monkeypatch, memory):
    monkeypatch.setattr(sold_out, "MAX_SALES", 2)
    memory.on_read(100.0, replace(SALE, sale_id="second"), NOW, [item("socks", 0)], {})
    memory.on_read(100.0, replace(SALE, sale_id="third"), NOW, [item("socks", 0)], {})

    assert memory.refusal("drop", hold(shoes=1), 100.0) is None
    assert memory.refusal("third", hold(socks=1), 100.0) is not None


def test_no_more_items_of_all_sales_are_remembered_than_there_may_be(monkeypatch):
    """Ten thousand sales with ten thousand items each would take more memory than there is."""
    monkeypatch.setattr(sold_out, "MAX_LEVELS", 4)
    memory = SoldOut(0.2)
    for number in range(10):
        sale = replace(SALE, sale_id=f"sale-{number}")
        memory.on_read(100.0, sale, NOW, [item("hats", 0), item("socks", 0)], {})
        memory.on_read(100.0, sale, NOW, [item("hats", 0)], {})
        assert sum(len(known.items) for known in memory._sales.values()) == memory._levels <= 4
        assert memory.refusal(sale.sale_id, hold(hats=1), 100.0) is not None
    memory.forget("sale-9")
    assert sum(len(known.items) for known in memory._sales.values()) == memory._levels
