"""The ledger is consistent: stock is conserved, and a reservation is held once and ends once."""

from datetime import datetime, timedelta

import pytest

from tests.unit.chaos.lies import Tale, renumber, tale_of
from tests.unit.chaos.stage import MAX_HOLD_SECONDS, Stage, adjustment, time_message, transfer


@pytest.fixture
def tale() -> Tale:
    """Five x: one is sold, one held and released, one held and expired, and one is moved to the other sale."""
    stage = Stage()
    stage.do("confirm", name=stage.create(key="k1"), order="o-1")
    stage.do("release", name=stage.create(key="k2"))
    stage.create(key="k3")
    stage.do("transfer", **transfer(1, "k4"))
    stage.do("adjust", **adjustment(2, "k5"))
    stage.wait(5)
    stage.sweep()
    return tale_of(stage)


def ledger(tale: Tale):
    return tale.ledgers["sales/a"]


def rows(tale: Tale, kind: str) -> list[dict]:
    return [movement for movement in ledger(tale).movements if movement["kind"] == kind]


def test_a_true_ledger_is_clean(tale: Tale):
    assert tale.rules() == set()


def test_a_missing_sequence_is_a_gap(tale: Tale):
    ledger(tale).movements.pop(3)
    assert "sequence-gap" in tale.rules()


def test_a_ledger_that_ends_before_its_sale_has_a_gap(tale: Tale):
    ledger(tale).movements.pop()
    assert "sequence-gap" in tale.rules()


@pytest.mark.parametrize(
    ("kind", "field", "by"),
    [
        ("HOLD", "sold_delta", 1),
        ("CONFIRM", "on_hand_delta", 1),
        ("RELEASE", "held_delta", 2),
        ("ADJUST", "held_delta", 1),
    ],
)
def test_a_movement_that_makes_or_loses_units_is_malformed(tale: Tale, kind: str, field: str, by: int):
    rows(tale, kind)[0][field] += by
    assert "malformed-movement" in tale.rules()


def test_more_held_than_there_is_is_oversold():
    stage = Stage({"x": 1, "y": 5})
    stage.create(key="k1")
    tale = tale_of(stage)
    ledger(tale).movements.append({**rows(tale, "HOLD")[0], "reservation": "sales/a/reservations/another"})
    renumber(ledger(tale))
    assert "oversold" in tale.rules()


def test_oversold_at_a_prefix_is_found_though_it_is_made_good_later():
    stage = Stage({"x": 1, "y": 5})
    stage.do("adjust", **adjustment(4, "k1"))
    stage.create(key="k2", lines={"x": 3})
    tale = tale_of(stage)
    movements = ledger(tale).movements
    movements.append(movements.pop(-2))
    renumber(ledger(tale))
    assert "oversold" in tale.rules()


@pytest.mark.parametrize("field", ["on_hand", "held", "sold", "available"])
def test_a_level_that_is_not_the_sum_differs(tale: Tale, field: str):
    ledger(tale).items[0][field] += 1
    assert "balance-differs" in tale.rules()


def test_a_hold_without_a_reservation_leaks(tale: Tale):
    stage = Stage()
    stage.create(key="k1")
    tale = tale_of(stage)
    ledger(tale).reservations[0]["state"] = "EXPIRED"
    assert "held-differs" in tale.rules()


def test_what_verify_ledger_finds_is_a_fault(tale: Tale):
    ledger(tale).verified["consistent"] = False
    assert tale.rules() == {"ledger-unverified"}


def test_units_left_after_the_sell_out_are_undersold(tale: Tale):
    stage = Stage({"x": 1, "y": 0})
    stage.phase("sell-out")
    assert "undersold" in {violation.rule for violation in stage.verdict().violations}
    for sale in ("a", "b"):
        stage.create("fan", f"s-{sale}", sale, confirm=True)
    assert stage.verdict().is_clean


def test_a_reservation_that_expires_after_it_was_sold_ended_twice(tale: Tale):
    sold = rows(tale, "CONFIRM")[0]
    ledger(tale).movements.append({**sold, "kind": "EXPIRE", "on_hand_delta": 0, "held_delta": -1, "sold_delta": 0})
    renumber(ledger(tale))
    assert "ended-twice" in tale.rules()


def test_a_reservation_that_is_sold_twice_ended_twice(tale: Tale):
    ledger(tale).movements.append(dict(rows(tale, "CONFIRM")[0]))
    renumber(ledger(tale))
    assert "ended-twice" in tale.rules()


def test_a_line_that_was_left_out_is_not_a_whole_end():
    stage = Stage()
    stage.do("confirm", name=stage.create(key="k", lines={"x": 1, "y": 2}), order="o")
    tale = tale_of(stage)
    ledger(tale).movements.remove(rows(tale, "CONFIRM")[1])
    renumber(ledger(tale))
    assert "ended-twice" in tale.rules()


def test_a_state_that_no_movement_made_differs(tale: Tale):
    confirmed = next(found for found in ledger(tale).reservations if found["state"] == "CONFIRMED")
    confirmed["state"] = "RELEASED"
    assert "state-differs" in tale.rules()


def test_a_reservation_without_movements_differs(tale: Tale):
    ledger(tale).movements[:] = [row for row in ledger(tale).movements if row["kind"] not in {"HOLD", "RELEASE"}]
    assert "state-differs" in tale.rules()


def test_movements_of_a_reservation_that_does_not_exist_differ(tale: Tale):
    ledger(tale).reservations.pop()
    assert "state-differs" in tale.rules()


def test_a_hold_that_expires_before_its_time_is_early(tale: Tale):
    expiry = rows(tale, "EXPIRE")[0]
    expiry["create_time"] = shifted(expiry["create_time"], -4)
    assert tale.rules() == {"expired-early"}


def test_a_hold_may_expire_as_late_as_anybody_notices(tale: Tale):
    expiry = rows(tale, "EXPIRE")[0]
    expiry["create_time"] = shifted(expiry["create_time"], 60)
    assert tale.rules() == set()


def test_a_hold_that_is_sold_after_its_time_was_dead(tale: Tale):
    sold = rows(tale, "CONFIRM")[0]
    sold["create_time"] = shifted(sold["create_time"], 30)
    assert "ended-after-expiry" in tale.rules()


def test_a_hold_may_be_extended_to_its_limit_and_no_further():
    stage = Stage()
    name = stage.create(key="k")
    created = datetime.fromisoformat(stage.events[-1].answer["create_time"])
    stage.do("extend", name=name, expire_time=time_message(created + timedelta(seconds=MAX_HOLD_SECONDS)))
    assert stage.verdict().is_clean
    tale = tale_of(stage)
    ledger(tale).sale["max_hold_time"] = f"{MAX_HOLD_SECONDS - 0.001:.3f}s"
    assert tale.rules() == {"held-too-long"}


def test_a_hold_that_is_open_long_after_its_time_outlived_the_drain():
    stage = Stage()
    stage.create(key="k")
    stage.phase("drain")
    stage.wait(MAX_HOLD_SECONDS + 6)
    stage.phase("end")
    assert {violation.rule for violation in stage.verdict().violations} == {"hold-outlived"}
    stage.sweep()
    assert stage.verdict().is_clean


def shifted(time: str, seconds: float) -> str:
    return time_message(datetime.fromisoformat(time) + timedelta(seconds=seconds))
