"""The queue gives the results of a list that is searched completely, operation by operation."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast_chassis.fair_queue import FairQueue
from tests.property.effort import effort

RANKS = 3
FLOWS = 4


@dataclass(frozen=True, order=True)
class Place:
    """A position in the queue: `round_` counts the turns of its flow in its rank."""

    rank: int
    round_: int
    arrival: int
    flow: int


class NaiveQueue:
    def __init__(self):
        self.places = []
        self.open_round = [0] * RANKS
        self.arrivals = 0

    def push(self, rank, flow):
        own = [place.round_ for place in self.places if (place.rank, place.flow) == (rank, flow)]
        place = Place(rank, max([self.open_round[rank], *(number + 1 for number in own)]), self.arrivals, flow)
        self.arrivals += 1
        self.places.append(place)
        return place

    def pop_first(self):
        place = min(self.places)
        self.places.remove(place)
        # A round that is being served accepts no new items.
        self.open_round[place.rank] = max(self.open_round[place.rank], place.round_ + 1)
        return place

    def pop_last(self):
        place = max(self.places)
        self.places.remove(place)
        return place


class FairQueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.naive = NaiveQueue()
        self.queue = FairQueue(RANKS)

    @rule(rank=st.integers(0, RANKS - 1), flow=st.integers(0, FLOWS - 1))
    def push(self, rank, flow):
        ahead = self.queue.ahead_of(rank, flow)
        others = [place for place in self.naive.places if (place.rank, place.flow) == (rank, flow)]
        place = self.naive.push(rank, flow)
        really = sum(each < place for each in self.naive.places)
        assert ahead == really if not others else ahead >= really
        self.queue.push(place, rank, flow)

    @precondition(lambda self: self.naive.places)
    @rule()
    def pop_first(self):
        assert self.queue.first() == self.queue.pop_first() == self.naive.pop_first()

    @precondition(lambda self: self.naive.places)
    @rule()
    def pop_last(self):
        assert self.queue.pop_last() == self.naive.pop_last()

    @precondition(lambda self: self.naive.places)
    @rule()
    def serve_all(self):
        """No item is lost, and none is served twice."""
        assert [self.queue.pop_first() for _ in range(len(self.queue))] == [
            self.naive.pop_first() for _ in range(len(self.naive.places))
        ]

    @invariant()
    def has_as_many(self):
        assert len(self.queue) == len(self.naive.places)

    @invariant()
    def remembers_only_those_who_wait(self):
        waiting = {(place.rank, place.flow) for place in self.naive.places}
        assert {(rank, flow) for rank, each in enumerate(self.queue._ranks) for flow in each._flows} == waiting


TestFairQueue = FairQueueMachine.TestCase
TestFairQueue.settings = effort(0.5)
