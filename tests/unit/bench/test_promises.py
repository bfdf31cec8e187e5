"""A ledger whose sum differs from what was acknowledged fails the run."""

from collections import Counter

from lab.bench.promises import Ledger, Promises

REFUSED = Counter({"OK": 7, "INSUFFICIENT_STOCK": 3})


def promises():
    noted = Promises("sales/sold-out")
    for sale, commands in (("sales/hot", 5), ("", 4), ("sales/sold-out", 3), ("sales/hot", 2)):
        noted.note(sale, commands)
    return noted


def test_what_was_acknowledged_is_noted_by_sale_and_yardsticks_are_not():
    assert promises().acknowledged == {"sales/hot": 7}
    assert promises().refused == 3


def test_ledgers_that_have_what_was_acknowledged_break_nothing():
    assert promises().broken([Ledger("sales/hot", 7, 7, is_consistent=True)], REFUSED) == []


def test_neither_less_nor_more_may_be_in_a_ledger():
    for held in (6, 8):
        [fault] = promises().broken([Ledger("sales/hot", 7, held, is_consistent=True)], REFUSED)
        assert fault == f"sales/hot: 7 units were acknowledged, its ledger has {held}"


def test_movements_that_do_not_sum_up_are_reported():
    [fault] = promises().broken([Ledger("sales/hot", 7, 7, is_consistent=False)], REFUSED)
    assert "do not sum up" in fault


def test_every_call_to_a_sold_out_sale_is_to_be_refused():
    [fault] = promises().broken([], Counter({"INSUFFICIENT_STOCK": 2}))
    assert fault == "3 calls were to be refused as sold out, 2 were"
