from dataclasses import replace

import pytest

from holdfast_inventory.domain.errors import Shortage
from holdfast_inventory.domain.item import Item
from holdfast_inventory.stock import sold_out
from holdfast_inventory.stock.sold_out import SoldOut
from tests.support.shopping import hold


def item(item_id, on_hand, held=0):
    return Item(item_id, on_hand, held, 0, 0, 1)


@pytest.fixture
def memory():
    memory = SoldOut(max_age_seconds=0.2)
    memory.read("drop", 100.0, [item("socks", 5, held=3), item("shoes", 1, held=1)])
    return memory


def test_nothing_is_known_of_a_sale_that_was_not_read(memory):
    assert memory.refusal("other", hold(socks=9), 100.0) is None


def test_what_is_there_is_never_refused(memory):
    assert memory.refusal("drop", hold(socks=2), 100.0) is None
    assert memory.refusal("drop", hold(hats=9), 100.0) is None


def test_each_line_that_is_short_is_told(memory):
    refusal = memory.refusal("drop", hold(shoes=1, socks=3, hats=1), 100.1)

    assert refusal.shortages == (Shortage("shoes", 1, 0), Shortage("socks", 3, 2))


def test_what_is_remembered_is_forgotten_in_time(memory):
    assert memory.refusal("drop", hold(shoes=1), 100.19) is not None
    assert memory.refusal("drop", hold(shoes=1), 100.21) is None


def test_one_who_takes_what_there_is_always_asks(memory):
    assert memory.refusal("drop", replace(hold(socks=3), allow_partial=True), 100.0) is None


def test_a_later_read_replaces_an_earlier_one(memory):
    memory.read("drop", 100.1, [item("shoes", 1)])

    assert memory.refusal("drop", hold(shoes=1), 100.1) is None


def test_a_sale_that_changed_elsewhere_is_forgotten(memory):
    memory.forget("drop")
    memory.forget("never known")

    assert memory.refusal("drop", hold(shoes=1), 100.0) is None


def test_the_memory_is_bounded(monkeypatch, memory):
    monkeypatch.setattr(sold_out, "MAX_SALES", 2)
    monkeypatch.setattr(sold_out, "MAX_ITEMS", 2)
    memory.read("drop", 100.0, [item("hats", 0), item("scarfs", 0)])
    memory.read("drop", 100.0, [item("gloves", 0)])

    assert memory.refusal("drop", hold(hats=1), 100.0) is None
    assert memory.refusal("drop", hold(gloves=1), 100.0) is not None

    memory.read("second", 100.0, [item("socks", 0)])
    memory.read("third", 100.0, [item("socks", 0)])

    assert memory.refusal("drop", hold(gloves=1), 100.0) is None
    assert memory.refusal("third", hold(socks=1), 100.0) is not None
