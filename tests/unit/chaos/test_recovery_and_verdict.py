"""After healing, everything is as before; and a verdict says whether the run proves anything."""

import json
from dataclasses import asdict, replace

import pytest

from lab.chaos.bugs import BUGS
from lab.chaos.history import Kind, write_ledgers
from lab.chaos.judge import RULES, judge
from lab.chaos.judge.__main__ import main
from lab.chaos.judge.case import case_of
from lab.chaos.judge.pace import paces
from tests.unit.chaos.lies import LIES
from tests.unit.chaos.stage import Stage, creation


@pytest.fixture
def stage() -> Stage:
    """Healed 6 s ago."""
    stage = Stage()
    stage.phase("heal")
    stage.wait(6)
    return stage


def rules(stage: Stage) -> set[str]:
    return {violation.rule for violation in stage.verdict().violations}


# Recovery


def test_operations_after_healing_are_quick(stage: Stage):
    for number in range(3):
        stage.create(key=f"k{number}")
    assert rules(stage) == set()


def test_an_operation_that_takes_long_after_healing_is_slow(stage: Stage):
    call = stage.invoke("get_item", name="sales/a/items/x")
    stage.apply(call)
    stage.wait(1.5)
    stage.answer(call)
    assert rules(stage) == {"slow-after-healing"}


def test_one_of_a_hundred_may_take_a_second_but_not_five(stage: Stage):
    slow = stage.invoke("get_item", name="sales/a/items/x")
    stage.apply(slow)
    for _ in range(100):
        stage.do("get_item", name="sales/a/items/x")
    stage.answer(slow)
    assert rules(stage) == set()
    slow = stage.invoke("get_item", name="sales/a/items/x")
    stage.apply(slow)
    stage.wait(6)
    stage.answer(slow)
    assert rules(stage) == {"slow-after-healing"}


def test_until_five_seconds_after_healing_anything_may_be_slow():
    stage = Stage()
    stage.phase("heal")
    call = stage.invoke("get_item", name="sales/a/items/x")
    stage.wait(60)
    stage.lose(call)
    assert rules(stage) == set()


@pytest.mark.parametrize("reason", ["DATABASE_UNAVAILABLE", "INVENTORY_UNAVAILABLE", "DRAINING"])
def test_nobody_is_turned_away_after_healing(stage: Stage, reason: str):
    stage.refuse(stage.invoke("create", **creation(key="k")), reason)
    assert rules(stage) == {"unavailable-after-healing"}


@pytest.mark.parametrize("reason", ["OVERLOADED", "RATE_LIMITED", "DEADLINE_IN_QUEUE"])
def test_one_of_twenty_may_be_told_to_come_back(stage: Stage, reason: str):
    stage.refuse(stage.invoke("create", **creation(key="k")), reason)
    assert rules(stage) == {"unavailable-after-healing"}
    for _ in range(19):
        stage.do("get_item", name="sales/a/items/x")
    assert rules(stage) == set()


def test_no_outcome_is_unknown_after_healing(stage: Stage):
    stage.lose(stage.invoke("create", **creation(key="k")))
    assert rules(stage) == {"unavailable-after-healing"}


def test_who_goes_away_by_themselves_says_nothing_of_the_system(stage: Stage):
    stage.lose(stage.invoke("create", **creation(key="k")), "the client went away")
    assert rules(stage) == set()


def test_what_the_runner_found_left_behind_is_a_fault():
    verdict = judge([], {}, leaks=["inventory-2 has 3 connections more than at first"])
    assert [(violation.rule, violation.promise) for violation in verdict.violations] == [("leak", 8)]


# Pace: before the faults and after healing, in terms of an empty call and a commit


def paced(*, slower=1.0, neighbours=1.0, costlier=1.0, seconds=4.0) -> Stage:
    """Return a run that is this many times slower after the repair, on a machine with other load."""
    stage = Stage()
    stage.phase("calm")
    measure(stage, seconds=seconds)
    stage.phase("load")
    stage.wait(60)
    stage.phase("heal")
    stage.wait(6)
    stage.phase("healed")
    measure(stage, slower * neighbours, neighbours, costlier, seconds)
    stage.phase("replay")
    return stage


def measure(stage: Stage, slower=1.0, neighbours=1.0, costlier=1.0, seconds=4.0) -> None:
    began = stage.now
    stage.record(Kind.YARDSTICK, action="cpu", answer={"seconds": 7.0})
    performed = 0
    while stage.now < began + seconds:
        call = stage.invoke("get_item", name="sales/a/items/x")
        stage.apply(call)
        stage.wait(0.02 * slower)
        stage.answer(call)
        stage.record(Kind.YARDSTICK, action="empty-call", answer={"seconds": 0.002 * neighbours})
        stage.record(Kind.YARDSTICK, action="commit", answer={"seconds": 0.003 * neighbours})
        stage.wait(0.05)
        performed += 1
    stage.record(Kind.YARDSTICK, action="cpu", answer={"seconds": 7.0 + 0.008 * costlier * performed})


def test_operations_may_be_as_slow_as_neighbours_make_everything():
    assert rules(paced(neighbours=9)) == set()


def test_neighbours_slow_the_slowest_operations_too():
    stage = paced(slower=1.5, neighbours=40, seconds=12)
    assert max(operation.completed - operation.invoked for operation in case_of(stage.events, {}).operations) > 1.1
    assert rules(stage) == set()


def test_operations_that_have_become_slower_than_everything_else_are_slow():
    assert rules(paced(slower=2.2)) == {"slow-after-healing"}
    assert rules(paced(slower=2.2, neighbours=3)) == {"slow-after-healing"}


def test_a_neighbour_that_comes_for_a_moment_does_not_count():
    stage = paced()
    bad = [event for event in stage.events if event.action == "empty-call" and event.at > 60][:9]
    stage.events = [replace(event, answer={"seconds": 9.0}) if event in bad else event for event in stage.events]
    assert rules(stage) == set()


def test_operations_may_not_take_more_cpu_than_before():
    assert rules(paced(costlier=1.3)) == set()
    assert rules(paced(costlier=1.5, neighbours=3)) == {"costly-after-healing"}


def test_both_paces_are_reported():
    calm, healed = paces(paced(slower=2).events)
    assert str(calm) == "20.0 ms, 4.0 times an empty call (2.0 ms) and a commit (3.0 ms); CPU 8.0 ms"
    assert str(healed) == "40.0 ms, 8.0 times an empty call (2.0 ms) and a commit (3.0 ms); CPU 8.0 ms"


def test_a_run_that_measured_too_little_is_void():
    assert not any("measured" in reason for reason in paced().verdict().void_because)
    assert any("too little was measured" in reason for reason in paced(seconds=0.9).verdict().void_because)


# Void runs


def test_a_run_that_met_nothing_is_void():
    assert len(Stage().verdict().void_because) == 4


def test_a_run_that_met_all_that_it_is_for_is_not_void():
    stage = Stage({"x": 1, "y": 1})
    stage.record(Kind.FAULT, action="kill-in-commit", client="inventory-1", reason="begin")
    call = stage.invoke("create", **creation(key="k"))
    stage.apply(call)
    stage.lose(call)
    assert any("not sent again" in reason for reason in stage.verdict().void_because)
    stage.create(key="k")
    stage.create(key="k2")
    verdict = stage.verdict()
    assert verdict.void_because == []
    assert verdict.is_clean
    expected = {"unknown_outcomes": 1, "resolved_unknowns": 1, "replays": 1, "sell_outs": 1, "kills_in_commit": 1}
    assert expected.items() <= verdict.witnessed.items()


def test_a_run_in_which_the_clock_was_set_is_void():
    stage = Stage()
    stage.create(key="k")
    stage.events[-1] = replace(stage.events[-1], wall=stage.events[-1].wall + 60)
    assert any("clock" in reason for reason in stage.verdict().void_because)


def test_an_unknown_outcome_is_resolved_by_a_later_refusal():
    stage = Stage({"x": 1, "y": 1})
    stage.create("bob", "k1")
    stage.lose(stage.invoke("create", **creation(key="k")))
    stage.create(key="k")
    assert stage.verdict().witnessed["resolved_unknowns"] == 1


def test_operations_of_one_key_that_overlap_are_counted():
    stage = Stage()
    calls = [stage.invoke("create", **creation(key="k")) for _ in range(3)]
    stage.wait(0.01)
    for call in calls:
        stage.apply(call)
        stage.answer(call)
    stage.wait(0.01)
    stage.create(key="k")
    verdict = stage.verdict()
    assert verdict.witnessed["concurrent_same_keys"] == 2
    assert verdict.is_clean


# Rules


def test_every_rule_that_is_promised_to_find_something_exists():
    promised = set().union(*(bug.found_as for bug in BUGS.values()), *(rules for _, rules in LIES.values()))
    assert promised <= RULES.keys()


def test_every_fault_names_a_promise_and_is_a_sentence():
    stage = Stage()
    call = stage.invoke("create", **creation(key="k"))
    stage.apply(call)
    stage.refuse(call)
    violation = stage.verdict().violations[0]
    assert str(violation).startswith("refused-but-applied (promise 3): sales/a/reservations/")
    assert f"operations asked for it: {call.number}" in violation.text


# The command


def test_a_recorded_run_can_be_judged_again(tmp_path, capsys):
    stage = Stage()
    stage.create(key="k")
    history, ledgers = tmp_path / "history.jsonl", tmp_path / "ledgers.json"

    def judged() -> int:
        history.write_text("".join(json.dumps(asdict(event)) + "\n" for event in stage.events))
        write_ledgers(ledgers, stage.ledgers())
        return main([str(history), str(ledgers)])

    assert judged() == 3, "void"
    assert "void: nothing was sold out" in capsys.readouterr().out
    stage.events[-1] = replace(stage.events[-1], kind=Kind.FAIL, answer={}, reason="DRAINING")
    assert judged() == 1
    assert "refused-but-applied" in capsys.readouterr().out


def test_the_command_says_how_it_is_used(capsys):
    assert main([]) == 2
    assert "HISTORY LEDGERS" in capsys.readouterr().err
