"""What was visible before a lagging standby was promoted may be lost; what was acknowledged may not."""

import pytest

from lab.chaos.history import Kind
from lab.chaos.judge.loss import LAG_SECONDS, LOSSY_PROMOTION
from tests.unit.chaos.stage import Stage

X = {"name": "sales/a/items/x"}


def promote(stage, action=LOSSY_PROMOTION):
    for reason in ("begin", "end"):
        stage.wait(0.5)
        stage.record(Kind.FAULT, action=action, client="standby", reason=reason)


def rules(stage):
    return {violation.rule for violation in stage.verdict().violations}


def read_what_never_was(stage):
    stage.do("get_item", **X)
    stage.events[-1].answer["on_hand"] += 1
    stage.events[-1].answer["available"] += 1


def test_a_read_may_have_seen_what_the_promotion_took_back():
    stage = Stage()
    read_what_never_was(stage)
    promote(stage)
    assert rules(stage) == set()


def test_a_refusal_may_rest_on_it():
    stage = Stage()
    name = stage.create(key="k")
    stage.refuse(stage.invoke("confirm", name=name, order="o-1"), "RESERVATION_CONFIRMED")
    assert rules(stage) == {"needless-refusal"}
    promote(stage)
    assert rules(stage) == set()


@pytest.mark.parametrize("seconds", [LAG_SECONDS + 1, -1.0])
def test_not_so_long_before_nor_afterwards(seconds):
    stage = Stage()
    if seconds < 0:
        promote(stage)
        stage.wait(1.0)
    read_what_never_was(stage)
    if seconds > 0:
        stage.wait(seconds)
        promote(stage)
    assert rules(stage) == {"read-differs"}


def test_a_standby_that_has_caught_up_takes_nothing_back():
    stage = Stage()
    read_what_never_was(stage)
    promote(stage, "promote-standby")
    assert rules(stage) == {"read-differs"}


def test_what_was_acknowledged_may_not_be_lost():
    stage = Stage()
    name = stage.create(key="k")
    stage.do("confirm", name=name, order="o-1")
    stage.events[-1].answer["order"] = "o-2"
    promote(stage)
    assert "fields-differ" in rules(stage)
