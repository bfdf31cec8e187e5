"""What a webhook's receiver in the labs takes for an error."""

import pytest

from lab.kit.webhook_follower import Chain


def faults(*messages):
    chain = Chain()
    return [fault for message in messages if (fault := chain.accept(*message))]


def test_messages_in_order_and_repetitions_are_right():
    assert faults((0, 2, [1, 2]), (0, 2, [1, 2]), (2, 3, [3]), (0, 2, [1, 2]), (3, 5, [4, 5])) == []


@pytest.mark.parametrize(
    "messages",
    [
        [(0, 2, [1, 2]), (3, 4, [4])],
        [(1, 2, [2])],
        [(0, 2, [1])],
        [(0, 2, [2, 1])],
        [(0, 2, [])],
        [(0, 2, [1, 2]), (1, 3, [2, 3])],
    ],
    ids=["a gap", "a gap at the beginning", "a missing movement", "a wrong order", "no movement", "an overlap"],
)
def test_what_a_receiver_could_not_process_once_and_in_order_is_wrong(messages):
    assert len(faults(*messages)) == 1
