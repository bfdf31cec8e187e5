"""A queue with ranks that is fair between flows: who goes first, and who is refused when too many wait.

One order decides both, and is settled when something comes in:

    rank       a lower rank before a higher one, always
    round      each flow has one turn in a round: the first that a flow has waiting before anybody's second
    arrival    within a round

So flows with one thing each wait in arrival order, and a flow that sends a thousand waits behind itself. The last in
order is the youngest of whoever has most waiting in the highest rank: whom to refuse when there is no room.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


def fair_share(limit: int, others: int) -> int:
    """How much of a common `limit` a queue may take beside what `others` have: as much as is then left free.

    So a queue alone may take half, two may take a third each; there is always room for one that comes new. At least 1.
    """
    return max(1, (limit - others + 1) // 2)


class FairQueue(Generic[T]):
    """Ranks are 0 to `ranks` - 1. It knows neither time nor limits, and costs no more when it is long."""

    __slots__ = ("_length", "_ranks")

    def __init__(self, ranks: int) -> None:
        self._ranks = [_Rounds[T]() for _ in range(ranks)]
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        """Yield all that wait, in order."""
        for rounds in self._ranks:
            yield from rounds

    def push(self, item: T, rank: int, flow: Hashable) -> None:
        """Takes an item in."""
        self._ranks[rank].push(item, flow)
        self._length += 1

    def first(self) -> T:
        """Whose turn it is. Raises IndexError when nothing waits."""
        for rounds in self._ranks:
            if rounds.length:
                return rounds.first()
        raise IndexError("nothing waits")

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


class _Flow(NamedTuple):
    """The round of the latest item of a flow, and how many it has."""

    latest: int
    items: int


class _Rounds(Generic[T]):
    """One rank. The round that is being served takes nothing new in, or it might never end."""

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
        # Whoever is in a round is in all before it that are to come, so that none of them is empty.
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
