"""A queue with ranks that is fair between flows. Its order decides which item is served and which is refused.

The position of an item is determined when it arrives:

    rank       a lower rank always goes before a higher one
    round      each flow has one turn per round: the first items of all flows go before the second ones
    arrival    within a round

So flows with one item each wait in arrival order, and a flow with a thousand items waits behind itself. When the queue
is full, the last in order is refused: the latest item of the flow with the most items in the highest rank.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


def fair_share(limit: int, others: int) -> int:
    """Return how much of a common `limit` a queue may use if other queues use `others`: half of the rest, at least 1.

    So one queue may use a half, two queues a third each, and there is always room for a new queue.
    """
    return max(1, (limit - others + 1) // 2)


class FairQueue(Generic[T]):
    """A fair queue with the ranks 0 to `ranks` - 1. It has no limit, and long queues are not slower."""

    __slots__ = ("_length", "_ranks")

    def __init__(self, ranks: int) -> None:
        self._ranks = [_Rounds[T]() for _ in range(ranks)]
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        """Yield all items, in order."""
        for rounds in self._ranks:
            yield from rounds

    def push(self, item: T, rank: int, flow: Hashable) -> None:
        """Add an item."""
        self._ranks[rank].push(item, flow)
        self._length += 1

    def first(self) -> T:
        """Return the first item. Raises IndexError if the queue is empty."""
        for rounds in self._ranks:
            if rounds.length:
                return rounds.first()
        raise IndexError("nothing waits")

    def pop_first(self) -> T:
        """Remove and return the first item. Raises IndexError if the queue is empty."""
        for rounds in self._ranks:
            if rounds.length:
                self._length -= 1
                return rounds.pop_first()
        raise IndexError("nothing waits")

    def pop_last(self) -> T:
        """Remove and return the last item. Raises IndexError if the queue is empty."""
        for rounds in reversed(self._ranks):
            if rounds.length:
                self._length -= 1
                return rounds.pop_last()
        raise IndexError("nothing waits")

    def ahead_of(self, rank: int, flow: Hashable) -> int:
        """Return how many items would go before a new one; an upper bound if its flow has other items."""
        return sum(rounds.length for rounds in self._ranks[:rank]) + self._ranks[rank].ahead_of(flow)


class _Flow(NamedTuple):
    """The round of a flow's latest item, and the number of its items."""

    latest: int
    items: int


class _Rounds(Generic[T]):
    """One rank. New items never join the round that is being served; otherwise it might never end."""

    __slots__ = ("_coming", "_flows", "_next", "_serving", "length")

    def __init__(self) -> None:
        self.length = 0
        self._serving: deque[tuple[T, Hashable]] = deque()
        self._coming: deque[deque[tuple[T, Hashable]]] = deque()
        self._next = 0
        """The number of the first round in `_coming`."""
        self._flows: dict[Hashable, _Flow] = {}

    def __iter__(self) -> Iterator[T]:
        for round_ in (self._serving, *self._coming):
            for item, _ in round_:
                yield item

    def push(self, item: T, flow: Hashable) -> None:
        latest, items = self._flows.get(flow, _ABSENT)
        # A flow in a round is also in all coming rounds before it, so none of them is empty.
        number = max(latest + 1, self._next)
        self._flows[flow] = _Flow(number, items + 1)
        index = number - self._next
        if index == len(self._coming):
            self._coming.append(deque())
        self._coming[index].append((item, flow))
        self.length += 1

    def first(self) -> T:
        return (self._serving or self._coming[0])[0][0]

    def pop_first(self) -> T:
        if not self._serving:
            self._serving = self._coming.popleft()
            self._next += 1
        item, flow = self._serving.popleft()
        self._leave(flow, self._flows[flow].latest)
        return item

    def pop_last(self) -> T:
        last = self._coming[-1] if self._coming else self._serving
        item, flow = last.pop()
        if self._coming and not last:
            self._coming.pop()
        self._leave(flow, self._flows[flow].latest - 1)
        return item

    def ahead_of(self, flow: Hashable) -> int:
        if flow in self._flows:
            return self.length
        return len(self._serving) + (len(self._coming[0]) if self._coming else 0)

    def _leave(self, flow: Hashable, latest: int) -> None:
        items = self._flows[flow].items - 1
        if items:
            self._flows[flow] = _Flow(latest, items)
        else:
            del self._flows[flow]
        self.length -= 1


_ABSENT = _Flow(-1, 0)
