"""The order of service and of refusals, by examples; `tests/property` compares the queue with a model."""

import pytest

from holdfast_chassis.fair_queue import FairQueue, fair_share


def queue(*items):
    """Return a queue of two ranks with items such as `1a`: the rank, and whose it is."""
    made = FairQueue(2)
    for number, item in enumerate(items):
        made.push(f"{item}{number}", int(item[0]), item[1])
    return made


def drained(queue):
    return [queue.pop_first() for _ in range(len(queue))]


def test_strangers_go_in_the_order_of_their_arrival():
    assert drained(queue("0a", "0b", "0c")) == ["0a0", "0b1", "0c2"]


def test_a_lower_rank_goes_first_whenever_it_comes():
    assert drained(queue("1a", "1b", "0c")) == ["0c2", "1a0", "1b1"]


def test_nobody_has_a_second_turn_before_everybodys_first():
    assert drained(queue("0a", "0a", "0a", "0b", "0c")) == ["0a0", "0b3", "0c4", "0a1", "0a2"]


def test_whoever_comes_anew_waits_for_the_turns_that_are_due():
    """Otherwise a stream of new flows would delay the second turn of an older flow forever."""
    waiting = queue("0a", "0a", "0b")
    assert waiting.pop_first() == "0a0"
    waiting.push("0c", 0, "c")
    assert drained(waiting) == ["0b2", "0a1", "0c"]


def test_the_last_is_the_youngest_of_whoever_has_most_in_the_highest_rank():
    waiting = queue("1a", "1a", "1a", "1b", "0c", "0c", "0c", "0c")
    assert [waiting.pop_last() for _ in range(4)] == ["1a2", "1a1", "1b3", "1a0"]
    assert waiting.pop_last() == "0c7"


def test_a_flow_that_lost_its_last_is_not_put_off_for_it():
    waiting = queue("0a", "0a", "0b")
    waiting.pop_last()
    waiting.push("again", 0, "a")
    assert drained(waiting) == ["0a0", "0b2", "again"]


def test_it_tells_how_many_go_ahead():
    waiting = queue("0a", "1b", "1c", "1c")
    assert waiting.ahead_of(0, "z") == 1
    assert waiting.ahead_of(1, "z") == 3
    assert waiting.ahead_of(1, "c") == 4


def test_it_can_be_looked_through_in_its_order():
    waiting = queue("1a", "0b", "1a", "1c", "0d")
    waiting.pop_first()
    looked = list(waiting)
    assert looked == drained(waiting)


def test_nothing_is_kept_of_flows_that_have_gone():
    waiting = queue(*("0a", "0b") * 10)
    drained(waiting)
    assert waiting._ranks[0]._flows == {}


@pytest.mark.parametrize("take", ["first", "pop_first", "pop_last"])
def test_an_empty_queue_says_so(take):
    with pytest.raises(IndexError):
        getattr(FairQueue(2), take)()


@pytest.mark.parametrize(("others", "expected"), [(0, 50), (50, 25), (99, 1), (100, 1), (150, 1)])
def test_a_queue_may_take_as_much_as_it_leaves_free(others, expected):
    assert fair_share(100, others) == expected
