"""Reads show states that existed, and refusals have a true reason."""

from datetime import timedelta

import pytest

from lab.chaos.history import Kind
from tests.unit.chaos.lies import ask, tale_of
from tests.unit.chaos.stage import HOLD_SECONDS, MAX_HOLD_SECONDS, Stage, adjustment, creation, time_message, transfer

X = {"name": "sales/a/items/x"}


def rules(stage: Stage) -> set[str]:
    return {violation.rule for violation in stage.verdict().violations}


# Reads


@pytest.mark.parametrize("field", ["on_hand", "held", "sold", "available"])
def test_a_level_that_never_was_is_found(field: str):
    stage = Stage()
    stage.create(key="k")
    stage.do("get_item", **X)
    assert rules(stage) == set()
    stage.events[-1].answer[field] += 1
    assert rules(stage) == {"read-differs"}


def test_a_version_that_is_another_items_is_found():
    stage = Stage()
    stage.do("get_item", **X)
    stage.events[-1].answer["version"] = "2"
    assert rules(stage) == {"read-differs"}


def test_what_an_adjustment_tells_of_its_item_is_a_reading_too():
    stage = Stage()
    stage.do("adjust", **adjustment(1, "k"))
    stage.events[-1].answer["held"] += 1
    assert rules(stage) == {"read-differs"}


def test_a_reading_of_before_is_found_when_somebody_was_told_of_later():
    stage = Stage()
    early = stage.invoke("get_item", **X)
    stage.apply(early)
    stage.create(key="k")
    stage.answer(early)
    assert rules(stage) == set(), "it was under way meanwhile"
    late = stage.invoke("get_item", **X)
    late.outcome = early.outcome
    stage.answer(late)
    assert rules(stage) == {"read-went-back"}


def test_versions_do_not_go_back_from_one_reader_to_the_next():
    stage = Stage()
    lost = stage.invoke("create", **creation(key="k"))
    early = stage.invoke("get_item", **X)
    stage.apply(early)
    stage.apply(lost)
    stage.do("get_item", **X)
    stage.lose(lost)
    late = stage.invoke("get_item", **X)
    late.outcome = early.outcome
    stage.answer(early)
    assert rules(stage) == set()
    stage.wait(0.01)
    stage.answer(late)
    assert rules(stage) == {"read-went-back"}


def test_a_hold_that_is_due_may_be_read_as_held_until_somebody_ends_it():
    stage = Stage()
    name = stage.create(key="k")
    stage.wait(HOLD_SECONDS + 1)
    stage.do("get_reservation", name=name)
    stage.sweep()
    stage.do("get_reservation", name=name)
    assert [event.answer["state"] for event in stage.events if event.answer] == ["HELD", "HELD", "EXPIRED"]
    assert rules(stage) == set()


def test_a_state_that_a_reservation_never_had_is_found():
    stage = Stage()
    name = stage.create(key="k")
    stage.do("get_reservation", name=name)
    stage.events[-1].answer["state"] = "RELEASED"
    assert rules(stage) == {"read-differs"}


def test_a_state_before_its_time_is_found():
    stage = Stage()
    name = stage.create(key="k")
    stage.do("get_reservation", name=name)
    told = stage.events[-1].answer
    stage.wait(1)
    stage.do("release", name=name)
    told["state"] = "RELEASED"
    assert rules(stage) == {"read-differs"}


def test_a_reservation_that_is_held_again_went_back():
    stage = Stage()
    name = stage.create(key="k")
    held = stage.do("get_reservation", name=name)
    stage.do("release", name=name)
    late = stage.invoke("get_reservation", name=name)
    late.outcome = held.outcome
    stage.answer(late)
    assert rules(stage) == {"read-went-back"}


def test_an_end_that_comes_nearer_again_went_back():
    stage = Stage()
    name = stage.create(key="k")
    short = stage.do("get_reservation", name=name)
    stage.do("extend", name=name, expire_time=time_message(stage.clock + timedelta(seconds=5)))
    late = stage.invoke("get_reservation", name=name)
    late.outcome = short.outcome
    stage.answer(late)
    assert rules(stage) == {"read-went-back"}


def test_a_reservation_that_was_read_and_is_gone_is_lost():
    stage = Stage()
    tale = tale_of(stage)
    name = stage.create(key="k")
    stage.do("get_reservation", name=name)
    tale.events[:] = stage.events[2:]
    assert tale.rules() == {"acknowledged-lost"}


# Short stock


def refused(stage: Stage, reason: str = "INSUFFICIENT_STOCK", action: str = "create", /, **request) -> set[str]:
    """Return the rules that a refusal would break now."""
    tale = tale_of(stage)
    ask(tale, stage.now, action, request or creation("eve", "e"), kind=Kind.FAIL, reason=reason)
    return tale.rules()


def test_stock_that_is_held_is_short_until_the_hold_is_due():
    stage = Stage({"x": 1, "y": 1})
    stage.create(key="k")
    assert refused(stage) == set()
    stage.wait(HOLD_SECONDS - 0.5)
    assert refused(stage) == set()
    stage.wait(0.6)
    assert refused(stage) == set(), "it was short less than 200 ms before"
    stage.wait(0.3)
    assert refused(stage) == {"stale-refusal"}, "the hold is due, although it was not ended"


def test_an_extended_hold_keeps_stock_short():
    stage = Stage({"x": 1, "y": 1})
    name = stage.create(key="k")
    stage.do("extend", name=name, expire_time=time_message(stage.clock + timedelta(seconds=5)))
    stage.wait(HOLD_SECONDS + 1)
    assert refused(stage) == set()
    stage.wait(3)
    assert refused(stage) == {"stale-refusal"}


def test_stock_that_is_sold_is_short_for_good():
    stage = Stage({"x": 1, "y": 1})
    stage.do("confirm", name=stage.create(key="k"), order="o")
    stage.wait(60)
    assert refused(stage) == set()


def test_stock_that_was_given_back_is_not_short():
    stage = Stage({"x": 1, "y": 1})
    stage.do("release", name=stage.create(key="k"))
    assert refused(stage) == set()
    stage.wait(0.3)
    assert refused(stage) == {"stale-refusal"}


def test_stock_that_was_short_for_a_moment_while_a_request_waited_may_be_refused():
    stage = Stage({"x": 1, "y": 1})
    waiting = stage.invoke("create", **creation("eve", "e"))
    stage.wait(2)
    stage.do("release", name=stage.create(key="k"))
    stage.wait(2)
    stage.refuse(waiting, "INSUFFICIENT_STOCK")
    assert rules(stage) == set()


def test_one_short_line_is_enough_unless_the_request_takes_what_there_is():
    stage = Stage({"x": 1, "y": 1})
    stage.create(key="k", confirm=True)
    stage.wait(1)
    both = creation("eve", "e", lines={"x": 1, "y": 1})
    assert refused(stage, **both) == set()
    assert refused(stage, **both, allow_partial=True) == {"stale-refusal"}


def test_transfers_and_adjustments_are_not_refused_what_is_there():
    stage = Stage()
    assert refused(stage, "INSUFFICIENT_STOCK", "transfer", **transfer(5, "t")) == {"stale-refusal"}
    assert refused(stage, "INSUFFICIENT_STOCK", "transfer", **transfer(6, "t")) == set()
    assert refused(stage, "BELOW_HELD", "adjust", **adjustment(-5, "t")) == {"stale-refusal"}
    assert refused(stage, "BELOW_HELD", "adjust", **adjustment(-6, "t")) == set()


def test_a_late_confirm_is_not_refused_what_is_there():
    stage = Stage({"x": 1, "y": 1})
    late = stage.create(key="k")
    stage.wait(HOLD_SECONDS + 1)
    request = {"name": late, "order": "o", "allow_late": True}
    assert refused(stage, "INSUFFICIENT_STOCK", "confirm", **request) == {"stale-refusal"}
    stage.create("bob", "k2", confirm=True)
    stage.wait(1)
    assert refused(stage, "INSUFFICIENT_STOCK", "confirm", **request) == set()


# Versions


def test_who_expected_a_version_that_has_passed_is_refused():
    stage = Stage()
    version = stage.stores["a"].items["x"].version
    stage.create(key="k")
    assert refused(stage, "STOCK_CHANGED", "adjust", **adjustment(1, "a", version=version)) == set()


def test_who_expected_the_version_that_there_is_is_not_refused():
    stage = Stage()
    stage.create(key="k1")
    version = stage.stores["a"].items["x"].version
    stage.create(key="k2", lines={"y": 1})
    assert refused(stage, "STOCK_CHANGED", "adjust", **adjustment(1, "a", version=version)) == set(), "just now"
    stage.wait(1)
    assert refused(stage, "STOCK_CHANGED", "adjust", **adjustment(1, "a", version=version)) == {"needless-refusal"}


def test_a_version_may_pass_while_a_request_waits():
    stage = Stage()
    waiting = stage.invoke("adjust", **adjustment(1, "a", version=stage.stores["a"].items["x"].version))
    stage.wait(1)
    stage.create(key="k")
    stage.wait(1)
    stage.refuse(waiting, "STOCK_CHANGED")
    assert rules(stage) == set()


# Limits and states


def test_an_extension_is_refused_only_beyond_its_limit():
    stage = Stage()
    name = stage.create(key="k")
    latest = stage.clock - timedelta(seconds=0.02) + timedelta(seconds=MAX_HOLD_SECONDS)
    beyond = time_message(latest + timedelta(microseconds=1))
    stage.do("extend", name=name, expire_time=beyond)
    assert stage.events[-1].reason == "EXTENSION_LIMIT_REACHED"
    assert rules(stage) == set()
    request = {"name": name, "expire_time": time_message(latest)}
    assert refused(stage, "EXTENSION_LIMIT_REACHED", "extend", **request) == {"needless-refusal"}


def test_a_limit_is_told_to_those_who_would_go_over_it():
    stage = Stage(limit=2)
    stage.create("eve", "k1", lines={"x": 2})
    assert refused(stage, "CUSTOMER_LIMIT_REACHED") == set()
    stage.wait(HOLD_SECONDS + 0.5)
    assert refused(stage, "CUSTOMER_LIMIT_REACHED") == {"needless-refusal"}


def test_an_items_limit_is_of_that_item_alone():
    stage = Stage(item_limit=1)
    stage.create("eve", "k1", confirm=True)
    assert refused(stage, "CUSTOMER_LIMIT_REACHED") == set()
    assert refused(stage, "CUSTOMER_LIMIT_REACHED", **creation("eve", "e", lines={"y": 1})) == {"needless-refusal"}


@pytest.mark.parametrize("reason", ["RESERVATION_EXPIRED", "RESERVATION_RELEASED", "RESERVATION_CONFIRMED"])
def test_a_hold_that_is_open_is_not_refused_as_ended(reason: str):
    stage = Stage()
    name = stage.create(key="k")
    assert refused(stage, reason, "confirm", name=name, order="o") == {"needless-refusal"}


def test_a_hold_that_has_ended_is_refused_as_what_it_is():
    stage = Stage()
    expired, released, confirmed = (stage.create(key=f"k{number}") for number in range(3))
    stage.do("release", name=released)
    stage.do("confirm", name=confirmed, order="o")
    stage.wait(HOLD_SECONDS)
    for name in (expired, released, confirmed):
        stage.do("confirm", name=name, order="another")
    assert rules(stage) == set()
    for name in (released, confirmed):
        assert refused(stage, "RESERVATION_EXPIRED", "release", name=name) == {"needless-refusal"}


def test_a_sale_is_not_refused_under_its_own_order():
    stage = Stage()
    name = stage.create(key="k")
    stage.do("confirm", name=name, order="o")
    assert refused(stage, "RESERVATION_CONFIRMED", "confirm", name=name, order="o") == {"needless-refusal"}


def test_a_reservation_that_somebody_was_told_of_is_found_by_everybody_but_strangers():
    stage = Stage()
    name = stage.create(key="k")
    assert refused(stage, "NOT_FOUND", "release", name=name, customer="eve") == set()
    assert refused(stage, "NOT_FOUND", "release", name=name) == {"needless-refusal"}
    assert refused(stage, "NOT_FOUND", "release", name=f"{name[:-3]}000") == set()


def test_nobody_is_reported_internal():
    assert refused(Stage(), "INTERNAL") == {"internal-error"}
    stage = Stage()
    stage.lose(stage.invoke("create", **creation()), "INTERNAL")
    assert rules(stage) == {"internal-error"}


# Precedence of reasons

TOO_LONG = {"hold_time": f"{MAX_HOLD_SECONDS + 1:.3f}s"}
LATER = {
    "SALE_PAUSED": (),
    "INVALID_REQUEST": ("SALE_PAUSED",),
    "NOT_FOUND": ("SALE_PAUSED", "INVALID_REQUEST"),
    "CUSTOMER_LIMIT_REACHED": ("SALE_PAUSED", "INVALID_REQUEST", "NOT_FOUND"),
    "INSUFFICIENT_STOCK": ("SALE_PAUSED", "INVALID_REQUEST", "NOT_FOUND", "CUSTOMER_LIMIT_REACHED"),
}
"""Reasons, each with those that come before it."""


@pytest.mark.parametrize(("reason", "first"), [(reason, first) for reason in LATER for first in LATER[reason]])
def test_the_reason_that_comes_first_is_reported(reason: str, first: str):
    stage = Stage({"x": 2, "y": 2}, limit=2)
    request = creation("eve", "e", lines={"x": 1})
    match first:
        case "SALE_PAUSED":
            stage.do("pause", name="sales/a")
        case "INVALID_REQUEST":
            request |= TOO_LONG
        case "NOT_FOUND":
            request["lines"].append({"item": "unicorn", "quantity": 1})
        case "CUSTOMER_LIMIT_REACHED":
            request["lines"][0]["quantity"] = 3
    stage.wait(1)
    assert refused(stage, first, **request) == set()
    assert "reason-out-of-order" in refused(stage, reason, **request)


def test_a_reason_that_was_there_for_a_part_of_the_time_may_have_been_missed():
    stage = Stage({"x": 0, "y": 2})
    waiting = stage.invoke("create", **creation("eve", "e"))
    stage.wait(1)
    stage.do("pause", name="sales/a")
    stage.wait(1)
    stage.refuse(waiting, "INSUFFICIENT_STOCK")
    assert rules(stage) == set()
    assert refused(stage) == {"reason-out-of-order"}


def test_who_takes_what_there_is_may_stay_below_a_limit():
    stage = Stage({"x": 0, "y": 2}, limit=2)
    request = creation("eve", "e", lines={"x": 3})
    assert refused(stage, **request) == {"reason-out-of-order"}
    assert refused(stage, **request, allow_partial=True) == set()


@pytest.mark.parametrize("reason", ["SALE_PAUSED", "CUSTOMER_LIMIT_REACHED", "INSUFFICIENT_STOCK"])
@pytest.mark.parametrize("lines", [{"x": 1}, {"x": 2}], ids=["the same", "another meaning"])
def test_what_was_granted_is_not_asked_for_anew(reason: str, lines: dict):
    stage = Stage({"x": 1, "y": 1}, limit=1)
    stage.create("eve", "e")
    stage.do("pause", name="sales/a")
    stage.wait(1)
    assert refused(stage, reason, **creation("eve", "e", lines=lines)) >= {"reason-out-of-order"}


@pytest.mark.parametrize("reason", ["INVALID_REQUEST", "NOT_FOUND"])
def test_a_sound_create_is_not_refused_as_unsound(reason: str):
    assert refused(Stage(), reason) == {"needless-refusal"}
