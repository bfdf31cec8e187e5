"""Watches have no gap, repeat nothing, and reach the end."""

import pytest

from lab.chaos.history import Kind
from tests.unit.chaos.lies import tale_of, told_by_watches
from tests.unit.chaos.stage import Stage
from tests.unit.chaos.watcher import MovementWatcher, StockWatcher


@pytest.fixture
def stage() -> Stage:
    """Both kinds of watchers see six creates, one event each, and lose their connection in the middle."""
    stage = Stage({"x": 9, "y": 9})
    watchers = [MovementWatcher(stage, "movements"), StockWatcher(stage, "stock")]
    for watcher in watchers:
        watcher.open()
        watcher.take()
    for number in range(6):
        stage.create(key=f"k{number}", lines={"xy"[number % 2]: 1})
        for watcher in watchers:
            if number == 3:
                watcher.open()
            watcher.take()
    return stage


def events_of(tale, client: str) -> list:
    return [event for event in told_by_watches(tale) if event.client == client]


def rules(stage: Stage) -> set[str]:
    return {violation.rule for violation in stage.verdict().violations}


def test_watches_that_tell_everything_once_are_clean(stage: Stage):
    assert rules(stage) == set()
    assert stage.verdict().witnessed["watch_resumes"] == 2


@pytest.mark.parametrize("client", ["movements", "stock"])
@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_dropped_event_is_a_gap_across_a_resume_too(stage: Stage, client: str, number: int):
    tale = tale_of(stage)
    tale.events.remove(events_of(tale, client)[number])
    assert tale.rules() == {"watch-gap"}


@pytest.mark.parametrize("client", ["movements", "stock"])
def test_an_event_that_comes_again_behind_a_resume_is_a_repeat(stage: Stage, client: str):
    tale = tale_of(stage)
    told = events_of(tale, client)
    opening = next(number for number, event in enumerate(told) if event.operation != told[0].operation)
    again = told[opening - 1]
    tale.events.insert(tale.events.index(told[opening]), again)
    assert "watch-repeat" in tale.rules()


@pytest.mark.parametrize("client", ["movements", "stock"])
def test_a_watch_that_stops_before_the_end_is_unfinished(stage: Stage, client: str):
    tale = tale_of(stage)
    tale.events.remove(events_of(tale, client)[-1])
    assert tale.rules() == {"watch-unfinished"}


def test_a_movement_that_is_not_the_ledgers_differs(stage: Stage):
    tale = tale_of(stage)
    events_of(tale, "movements")[2].answer["movements"][0]["reservation"] = "sales/a/reservations/another"
    assert tale.rules() == {"watch-differs"}


@pytest.mark.parametrize(("field", "value"), [("held", 7), ("version", "1"), ("available", 0)])
def test_a_level_that_is_not_the_ledgers_differs(stage: Stage, field: str, value: object):
    tale = tale_of(stage)
    events_of(tale, "stock")[-1].answer["change"]["items"][0][field] = value
    assert tale.rules() == {"watch-differs"}


def test_an_item_that_is_left_out_of_a_change_is_a_gap(stage: Stage):
    tale = tale_of(stage)
    events_of(tale, "stock")[-1].answer["change"]["items"].clear()
    assert tale.rules() == {"watch-gap"}


def test_a_lagged_reader_begins_again_further_on():
    stage = Stage()
    watcher = StockWatcher(stage, "stock")
    watcher.open()
    stage.create(key="k1")
    stage.create(key="k2")
    watcher.open(lagged=True)
    assert rules(stage) == set()
    stage.events[-1].answer["snapshot"]["lagged"] = False
    assert rules(stage) == {"watch-gap"}


def test_a_snapshot_that_goes_back_is_a_repeat():
    stage = Stage()
    watcher = StockWatcher(stage, "stock")
    watcher.open()
    early = stage.events[-1]
    stage.create(key="k1")
    watcher.take()
    watcher.tell(snapshot={**early.answer["snapshot"], "lagged": True})
    assert "watch-repeat" in rules(stage)


def test_a_watch_that_begins_without_a_snapshot_has_a_gap():
    stage = Stage()
    watcher = StockWatcher(stage, "stock")
    watcher.open()
    stage.events.pop()
    stage.create(key="k1")
    watcher.take()
    assert rules(stage) == {"watch-gap"}


def test_a_heartbeat_that_is_further_on_than_what_was_told_is_a_gap(stage: Stage):
    watcher = StockWatcher(stage, "another")
    watcher.open()
    watcher.take()
    assert rules(stage) == set()
    watcher.tell(heartbeat={"sequence": "99"})
    assert rules(stage) == {"watch-gap"}


def test_a_watch_that_begins_behind_a_sequence_goes_on_from_there(stage: Stage):
    watcher = MovementWatcher(stage, "another")
    watcher.open()
    watcher.position = 4
    stage.events[-1].request["after_sequence"] = "4"
    watcher.take()
    assert rules(stage) == set()
    stage.events[-2].request["after_sequence"] = "3"
    assert rules(stage) == {"watch-gap"}


@pytest.mark.parametrize("kind", [MovementWatcher, StockWatcher])
def test_what_moves_after_the_ledger_was_read_cannot_be_compared(stage: Stage, kind: type):
    watcher = kind(stage, "another")
    watcher.open()
    watcher.take()
    tale = tale_of(stage)
    stage.phase("end")
    stage.create(key="late")
    watcher.take()
    tale.events[:] = [event for event in stage.events if event.kind is not Kind.PHASE]
    assert "watch-differs" in tale.rules()
    tale.events[:] = stage.events
    assert "watch-differs" not in tale.rules()
