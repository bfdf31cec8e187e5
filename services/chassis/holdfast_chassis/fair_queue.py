"""A queue with ranks that is fair between flows: who goes first, and who is refused when too many wait.

One order decides both, and is settled when something comes in:

    rank       a lower rank before a higher one, always
    round      each flow has one turn in a round: the first that a flow has waiting before anybody's second
    arrival    within a round

So flows with one thing each wait in arrival order, and a flow that sends a thousand waits behind itself. The last in
order is the youngest of whoever has most waiting in the highest rank: whom to refuse when there is no room.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Pure: it knows neither time nor limits. Ranks are 0 to `ranks` - 1; what it is asked costs no more when it is long."""

    __slots__ = ("_length", "_ranks")

    def __init__(self, ranks: int) -> None:
        self._ranks = [_Rounds[T]() for _ in range(ranks)]
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, item: T, rank: int, flow: Hashable) -> None:
        """Takes an item in."""
        self._ranks[rank].push(item, flow)
        self._length += 1

    def pop_first(self) -> T:
        """Takes out whose turn it is. Raises IndexError when nothing waits."""
        for rounds in self._ranks:
            if rounds.length:
                self._length -= 1
                return rounds.pop_first()
        raise IndexError("nothing waits")

    def pop_last(self) -> T:
        """Takes out the last in order. Raises IndexError when nothing waits."""
        for rounds in reversed(self._ranks):
            if rounds.length:
                self._length -= 1
                return rounds.pop_last()
        raise IndexError("nothing waits")

    def ahead_of(self, rank: int, flow: Hashable) -> int:
        """How many would go before an item that came now; at most so many, if the flow has others waiting."""
        return sum(rounds.length for rounds in self._ranks[:rank]) + self._ranks[rank].ahead_of(flow)


class _Rounds(Generic[T]):
    """One rank. The round that is being served takes nothing new in, or it might never end."""

    __slots__ = ("_coming", "_latest", "_next", "_serving", "length")

    def __init__(self) -> None:
        self.length = 0
        self._serving: deque[tuple[T, Hashable]] = deque()
        self._coming: deque[deque[tuple[T, Hashable]]] = deque()
        self._next = 0
        """The number of the first round in `_coming`."""
        self._latest: dict[Hashable, int] = {}
        """The round of the latest item of each flow that has any."""

    def push(self, item: T, flow: Hashable) -> None:
        number = max(self._next, self._latest.get(flow, -1) + 1)
        # No round between is empty: a flow that is in one is in all before, down to the one that is being served.
        if number - self._next == len(self._coming):
            self._coming.append(deque())
        self._coming[number - self._next].append((item, flow))
        self._latest[flow] = number
        self.length += 1

    def pop_first(self) -> T:
        if not self._serving:
            self._serving = self._coming.popleft()
            self._next += 1
        item, flow = self._serving.popleft()
        if self._latest[flow] < self._next:
            del self._latest[flow]
        self.length -= 1
        return item

    def pop_last(self) -> T:
        last = self._coming[-1] if self._coming else self._serving
        item, flow = last.pop()
        if self._coming and not last:
            self._coming.pop()
        self._forget_latest(flow)
        self.length -= 1
        return item

    def ahead_of(self, flow: Hashable) -> int:
        if flow in self._latest:
            return self.length
        return len(self._serving) + (len(self._coming[0]) if self._coming else 0)

    def _forget_latest(self, flow: Hashable) -> None:
        before = self._latest[flow] - 1
        ...
