"""Nothing is sold while a sale is not open, and refusals because of its state are true."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from lab.chaos.history import Kind
from lab.chaos.judge.hours import LATE_SECONDS
from tests.unit.chaos.lies import ask, tale_of
from tests.unit.chaos.stage import BEGAN, Stage, creation, time_message, window

A = {"name": "sales/a"}


def rules(stage: Stage) -> set[str]:
    return {violation.rule for violation in stage.verdict().violations}


def refused(stage: Stage, reason: str, action: str = "create", **request) -> set[str]:
    """Return the rules that a refusal would break now."""
    tale = tale_of(stage)
    ask(tale, stage.now, action, request or creation("eve", "e"), kind=Kind.FAIL, reason=reason)
    return tale.rules()


def pause(stage: Stage) -> None:
    stage.do("pause", **A)


def close(stage: Stage) -> None:
    stage.do("update", **window(close_time=stage.clock))


def open_later(stage: Stage) -> None:
    stage.do("update", **window(open_time=stage.clock + timedelta(seconds=5)))


def open_again(stage: Stage) -> None:
    stage.do("resume", **A)
    stage.do("update", **window(open_time=stage.clock, close_time=None))


SHUT = {"SALE_PAUSED": pause, "SALE_CLOSED": close, "SALE_NOT_OPEN": open_later}


@contextmanager
def unobserved(stage: Stage) -> Iterator[None]:
    """As if it were open: the batch has read the sale's rules before they were changed."""
    store = stage.stores["a"]
    known = store.sale
    store.sale = replace(known, paused=False, open_at=BEGAN, close_at=None)
    yield
    store.sale = replace(store.sale, paused=known.paused, open_at=known.open_at, close_at=known.close_at)


@pytest.mark.parametrize(("reason", "shut"), SHUT.items())
def test_a_sale_that_is_shut_for_a_while_refuses_meanwhile(reason: str, shut: Callable[[Stage], None]):
    stage = Stage()
    stage.create(key="k1")
    shut(stage)
    assert stage.create(key="k2") == reason
    open_again(stage)
    stage.create(key="k2")
    assert rules(stage) == set()


@pytest.mark.parametrize("shut", SHUT.values())
def test_what_is_given_while_a_sale_is_shut_is_found(shut: Callable[[Stage], None]):
    stage = Stage()
    shut(stage)
    stage.wait(1)
    with unobserved(stage):
        stage.create(key="k")
    assert rules(stage) == {"given-while-closed"}


@pytest.mark.parametrize("reason", SHUT)
def test_an_open_sale_does_not_say_that_it_is_shut(reason: str):
    stage = Stage()
    assert refused(stage, reason) == {"needless-refusal"}
    SHUT[reason](stage)
    open_again(stage)
    assert refused(stage, reason) == set(), "it was just opened, and clocks are read a moment late"
    stage.wait(1)
    assert refused(stage, reason) == {"needless-refusal"}


@pytest.mark.parametrize(("reason", "shut"), SHUT.items())
def test_a_sale_that_is_shut_says_in_which_way(reason: str, shut: Callable[[Stage], None]):
    stage = Stage()
    shut(stage)
    stage.wait(1)
    assert {other for other in SHUT if refused(stage, other) == set()} == {reason}


def test_a_window_opens_and_closes_by_itself():
    stage = Stage()
    opens, closes = stage.clock + timedelta(seconds=2), stage.clock + timedelta(seconds=4)
    stage.do("update", **window(open_time=opens, close_time=closes))
    answers = []
    for number in range(3):
        answers.append(stage.create(key=f"k{number}"))
        stage.wait(2)
    assert [answers[0], answers[2]] == ["SALE_NOT_OPEN", "SALE_CLOSED"]
    assert rules(stage) == set()
    tale = tale_of(stage)
    ask(tale, 4, "create", creation("eve", "e"), kind=Kind.FAIL, reason="SALE_NOT_OPEN")
    assert tale.rules() == {"needless-refusal"}


def test_a_sale_without_changes_keeps_its_hours():
    stage = Stage()
    store = stage.stores["a"]
    store.sale = replace(store.sale, open_at=stage.clock + timedelta(seconds=5))
    assert stage.create(key="k") == "SALE_NOT_OPEN"
    assert rules(stage) == set()
    assert refused(stage, "SALE_CLOSED") == {"needless-refusal"}


def test_a_sale_is_not_paused_before_the_request():
    stage = Stage()
    tale = tale_of(stage)
    ask(tale, 2, "create", creation("eve", "e"), kind=Kind.FAIL, reason="SALE_PAUSED")
    ask(tale, 3, "pause", A)
    ask(tale, 4, "resume", A)
    assert tale.rules() == {"needless-refusal"}


# Uncertain changes


def test_while_a_sale_is_being_paused_either_answer_is_true():
    stage = Stage()
    under_way = stage.invoke("pause", **A)
    stage.wait(1)
    assert stage.create(key="k1").startswith("sales/a/")
    stage.apply(under_way)
    assert stage.create(key="k2") == "SALE_PAUSED"
    stage.wait(1)
    stage.answer(under_way)
    assert rules(stage) == set()


def test_of_a_pause_and_a_resume_that_overlap_any_may_be_the_last():
    stage = Stage()
    calls = [stage.invoke(action, **A) for action in ("pause", "resume")]
    for call in calls:
        stage.apply(call)
        stage.answer(call)
    stage.wait(1)
    stage.create(key="k")
    assert rules(stage) == set()
    assert refused(stage, "SALE_PAUSED") == set()


def test_a_pause_without_an_answer_may_come_late_but_not_without_a_limit():
    stage = Stage()
    stage.lose(stage.invoke("pause", **A))
    stage.wait(10)
    stage.do("resume", **A)
    stage.wait(LATE_SECONDS)
    assert refused(stage, "SALE_PAUSED") == set(), "it may have come behind the resume"
    stage.do("resume", **A)
    stage.wait(1)
    assert refused(stage, "SALE_PAUSED") == {"needless-refusal"}, "by now it has come, or is lost"


def test_a_pause_without_an_answer_may_last():
    stage = Stage()
    stage.lose(stage.invoke("pause", **A))
    stage.wait(60)
    assert refused(stage, "SALE_PAUSED") == set()
    stage.create(key="k")
    assert rules(stage) == set()


def test_a_resume_without_an_answer_may_have_opened_it():
    stage = Stage()
    pause(stage)
    call = stage.invoke("resume", **A)
    stage.apply(call)
    stage.lose(call)
    stage.wait(60)
    stage.create(key="k")
    assert rules(stage) == set()


def test_a_pause_that_was_refused_has_no_effect():
    stage = Stage()
    stage.refuse(stage.invoke("pause", **A))
    assert refused(stage, "SALE_PAUSED") == {"needless-refusal"}


def test_a_pause_that_was_acknowledged_and_lost_is_found():
    stage = Stage()
    pause(stage)
    stage.stores["a"].sale = replace(stage.stores["a"].sale, paused=False)
    stage.wait(1)
    stage.phase("end")
    assert rules(stage) == {"acknowledged-lost"}


# Methods that depend on the sale's state


def test_what_was_held_in_time_may_be_sold_while_the_sale_is_paused():
    stage = Stage()
    name = stage.create(key="k")
    pause(stage)
    stage.do("confirm", name=name, order="o")
    assert rules(stage) == set()
    assert refused(stage, "SALE_PAUSED", "release", name=name) == {"needless-refusal"}


def test_a_request_that_was_granted_before_is_answered_while_the_sale_is_paused():
    stage = Stage()
    stage.create(key="k")
    pause(stage)
    stage.create(key="k")
    assert rules(stage) == set()


def test_a_cancelled_sale_gives_nothing_and_sells_nothing_late():
    stage = Stage()
    name = stage.create(key="k1")
    stage.wait(3)
    stage.sweep()
    tale = tale_of(stage)
    sale = tale.ledgers["sales/a"].sale
    sale |= {"state": "CANCELLED", "cancel_time": time_message(stage.clock)}
    late = {"name": name, "order": "o", "allow_late": True}
    ask(tale, stage.now + 1, "confirm", late, kind=Kind.FAIL, reason="SALE_CLOSED")
    ask(tale, stage.now + 1, "create", creation("eve", "e"), kind=Kind.FAIL, reason="SALE_CLOSED")
    assert tale.rules() == set()
    sale["cancel_time"] = time_message(stage.clock - timedelta(seconds=5))
    assert tale.rules() == {"given-while-closed"}
