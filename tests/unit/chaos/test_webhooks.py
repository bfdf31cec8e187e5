"""What a webhook sends is judged: no gap, whole repetitions only, what the ledger has, and to the end."""

from collections.abc import Callable
from typing import Any

import pytest

from lab.chaos.history import Event
from tests.unit.chaos.lies import Tale, tale_of, told_by_watches
from tests.unit.chaos.stage import Stage
from tests.unit.chaos.watcher import WebhookReceiver


@pytest.fixture
def stage() -> Stage:
    """Six creates, each in a message of its own."""
    stage = Stage({"x": 9, "y": 9})
    receiver = WebhookReceiver(stage, "webhook")
    receiver.open()
    receiver.take()
    for number in range(6):
        stage.create(key=f"k{number}", lines={"xy"[number % 2]: 1})
        receiver.take()
    return stage


def messages(tale: Tale) -> list[Event]:
    return [event for event in told_by_watches(tale) if event.action == "webhook" and event.answer]


def test_messages_in_order_are_right(stage: Stage):
    assert tale_of(stage).rules() == set()


@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_message_may_be_repeated_at_any_time(stage: Stage, number: int):
    tale = tale_of(stage)
    tale.events.insert(tale.events.index(messages(tale)[-1]) + 1, messages(tale)[number])
    assert tale.rules() == set()


@pytest.mark.parametrize("number", [0, 2, 5])
def test_a_message_that_is_lost_is_a_gap(stage: Stage, number: int):
    tale = tale_of(stage)
    tale.events.remove(messages(tale)[number])
    assert "watch-gap" in tale.rules()


def test_two_messages_in_the_wrong_order_are_a_gap(stage: Stage):
    tale = tale_of(stage)
    third, fourth = messages(tale)[2:4]
    tale.events.remove(fourth)
    tale.events.insert(tale.events.index(third), fourth)
    assert "watch-gap" in tale.rules()


def test_the_last_message_must_arrive(stage: Stage):
    tale = tale_of(stage)
    tale.events.remove(messages(tale)[-1])
    assert tale.rules() == {"watch-unfinished"}


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda answer: answer["movements"].clear(), "watch-gap"),
        (lambda answer: answer["movements"][0].update(item="z"), "watch-differs"),
        (lambda answer: answer["movements"].append(answer["movements"][0]), "watch-gap"),
    ],
    ids=["without its movement", "with another item", "with a movement twice"],
)
def test_a_message_has_what_the_ledger_has(stage: Stage, spoil: Callable[[dict[str, Any]], None], rule: str):
    tale = tale_of(stage)
    spoil(messages(tale)[3].answer)
    assert rule in tale.rules()


def test_a_repetition_with_more_than_before_is_a_repeat(stage: Stage):
    tale = tale_of(stage)
    known, later = (message.answer for message in messages(tale)[2:4])
    later.update(after_sequence=known["after_sequence"], movements=[*known["movements"], *later["movements"]])
    assert "watch-repeat" in tale.rules()
