"""A key has one meaning; finished operations come first; no customer exceeds the limit."""

from datetime import datetime, timedelta

import pytest

from lab.chaos.judge.matching import unmatched
from lab.chaos.judge.order import Span, reversals
from tests.unit.chaos.lies import Tale, chosen, renumber, tale_of
from tests.unit.chaos.stage import Stage, adjustment, creation, time_message


def rules(stage: Stage) -> set[str]:
    return {violation.rule for violation in stage.verdict().violations}


# Keys


def test_replays_of_one_key_are_one_reservation_that_moves_on():
    stage = Stage()
    name = stage.create(key="k")
    stage.create(key="k")
    stage.do("confirm", name=name, order="o")
    assert stage.create(key="k") == name
    assert rules(stage) == set()


def test_the_same_key_of_two_customers_or_sales_is_not_the_same():
    stage = Stage()
    names = {stage.create("ann", "k"), stage.create("bob", "k"), stage.create("ann", "k", "b")}
    assert len(names) == 3
    assert rules(stage) == set()


def test_a_key_that_got_two_reservations_is_found():
    stage = Stage()
    stage.create(key="k1")
    stage.create(key="k2")
    tale = tale_of(stage)
    for event in tale.events:
        if event.request:
            event.request["request_id"] = "k"
    assert tale.rules() == {"key-of-two-reservations"}


def test_a_replay_with_other_fields_differs():
    stage = Stage()
    stage.create(key="k")
    stage.create(key="k")
    tale = tale_of(stage)
    tale.events[-1].answer["lines"] = [{"item": "x", "quantity": 2}]
    assert {"replay-differs", "fields-differ"} <= tale.rules()


def test_another_meaning_under_a_used_key_is_refused():
    stage = Stage()
    stage.create(key="k")
    assert stage.create(key="k", lines={"x": 2}) == "REQUEST_ID_REUSED"
    assert rules(stage) == set()


def test_another_meaning_under_a_used_key_that_is_granted_is_found():
    stage = Stage()
    stage.create(key="k")
    stage.create(key="k")
    tale = tale_of(stage)
    tale.events[-2].request["order"] = "o"
    assert tale.rules() == {"key-of-two-meanings"}


def test_lines_mean_the_same_in_any_order_and_number():
    stage = Stage()
    lines = [{"item": "y", "quantity": 1}, {"item": "x", "quantity": 1}, {"item": "y", "quantity": 1}]
    stage.do("create", **creation(key="k") | {"lines": lines})
    stage.create(key="k", lines={"x": 1, "y": 2})
    assert rules(stage) == set()


def test_a_key_with_one_meaning_is_not_refused_as_reused():
    stage = Stage()
    stage.refuse(stage.invoke("adjust", **adjustment(1, "k")), "REQUEST_ID_REUSED")
    assert rules(stage) == {"key-refused-wrongly"}


def test_a_key_whose_other_meaning_is_unknown_may_be_refused_as_reused():
    stage = Stage()
    stage.lose(stage.invoke("adjust", **adjustment(1, "k")))
    stage.refuse(stage.invoke("adjust", **adjustment(2, "k")), "REQUEST_ID_REUSED")
    assert rules(stage) == set()


# Order


@pytest.fixture
def two_creates() -> Stage:
    """One after the other, of different items."""
    stage = Stage()
    stage.create(key="k1", lines={"x": 1})
    stage.create(key="k2", lines={"y": 1})
    return stage


def swap_the_last_two(tale: Tale) -> None:
    ledger = tale.ledgers["sales/a"]
    ledger.movements.append(ledger.movements.pop(-2))
    renumber(ledger)


def test_an_operation_that_was_over_before_has_the_smaller_sequence(two_creates: Stage):
    tale = tale_of(two_creates)
    assert tale.rules() == set()
    swap_the_last_two(tale)
    assert tale.rules() == {"order-reversed"}


def test_operations_that_overlap_may_have_either_order():
    stage = Stage()
    calls = [stage.invoke("create", **creation(key=f"k{number}", lines={item: 1})) for number, item in enumerate("xy")]
    for call in calls:
        stage.apply(call)
        stage.answer(call)
    tale = tale_of(stage)
    swap_the_last_two(tale)
    assert tale.rules() == set()


def test_a_replay_says_nothing_of_when_the_first_happened():
    stage = Stage()
    first = stage.invoke("create", **creation(key="k1"))
    stage.apply(first)
    stage.lose(first)
    stage.create(key="k2")
    stage.create(key="k1")
    assert rules(stage) == set()


def test_a_confirm_without_an_order_may_find_it_done_by_another():
    stage = Stage()
    name = stage.create(key="k1")
    stage.do("confirm", name=name, order="o")
    stage.create(key="k2")
    stage.do("confirm", name=name)
    assert rules(stage) == set()


def test_reversals_are_those_that_comparing_all_pairs_finds():
    spans = [
        Span(began, began + (began * 7 % 5), (began * 5) % 11, (began * 5) % 11 + began % 2, str(began))
        for began in range(40)
    ]
    found = {later for _, later in reversals(spans)}
    naive = {later for later in spans if any(other.ended < later.began and other.last > later.first for other in spans)}
    assert found == naive
    assert naive


def test_as_many_rows_as_possible_are_matched():
    causes = [{1, 2}, {1}, {3}]
    assert unmatched([1, 2, 3], causes, lambda row, cause: row in cause) == []
    assert unmatched([2, 1, 2], causes, lambda row, cause: row in cause) == [2]


# Limits


def test_a_limit_that_nobody_goes_over_is_kept():
    stage = Stage(limit=2)
    stage.create("ann", "k1", lines={"x": 2})
    assert stage.create("ann", "k2") == "CUSTOMER_LIMIT_REACHED"
    stage.create("bob", "k3")
    assert rules(stage) == set()


def test_a_due_hold_does_not_count_even_if_it_was_not_ended():
    stage = Stage(limit=2)
    held = stage.create("ann", "k1", lines={"x": 2})
    stage.wait(3)
    stage.create("ann", "k2", lines={"y": 2})
    tale = tale_of(stage)
    ledger = tale.ledgers["sales/a"]
    expiry = next(row for row in ledger.movements if row["kind"] == "EXPIRE" and row["reservation"] == held)
    ledger.movements.remove(expiry)
    ledger.movements.append(expiry)
    renumber(ledger)
    assert "limit-exceeded" not in tale.rules()


def test_an_extended_hold_counts_until_its_new_end():
    stage = Stage()
    name = stage.create("ann", "k1", lines={"x": 2})
    stage.do("extend", name=name, expire_time=time_message(stage.clock + timedelta(seconds=6)))
    stage.wait(3)
    stage.create("ann", "k2")
    tale = tale_of(stage)
    tale.ledgers["sales/a"].sale["per_customer_limit"] = 2
    assert tale.rules() == {"limit-exceeded"}


@pytest.mark.parametrize("item", [None, "x"])
def test_two_creates_that_together_go_over_a_limit_are_found(item: str | None):
    """As when the check is not under the lock."""
    stage = Stage()
    stage.create("ann", "k1")
    stage.create("ann", "k2", confirm=True)
    tale = tale_of(stage)
    ledger = tale.ledgers["sales/a"]
    limited = ledger.sale if item is None else chosen([found for found in ledger.items if found["item"] == item], 0)
    limited["per_customer_limit"] = 2
    assert tale.rules() == set()
    limited["per_customer_limit"] = 1
    assert tale.rules() == {"limit-exceeded"}


def test_a_late_confirm_counts_again():
    stage = Stage()
    name = stage.create("ann", "k1", lines={"x": 2})
    stage.wait(3)
    stage.create("ann", "k2")
    stage.do("confirm", name=name, order="o", allow_late=True)
    tale = tale_of(stage)
    tale.ledgers["sales/a"].sale["per_customer_limit"] = 2
    assert tale.rules() == {"limit-exceeded"}


def test_the_stage_keeps_time_as_the_history_does():
    stage = Stage()
    stage.create(key="k")
    assert datetime.fromisoformat(stage.events[-1].answer["create_time"]).timestamp() == pytest.approx(
        stage.events[0].wall + 0.01
    )
