"""The feed: watches of a sale's stock and movements, in order and without gaps."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_inventory.domain.errors import DatabaseUnavailable, Draining, Overloaded, ReaderTooSlow, WatchExpired
from holdfast_inventory.watches.events import (
    Change,
    Heartbeat,
    MovementEvent,
    Snapshot,
    StockEvent,
    WatchKind,
    resume_token,
    resumed_sequence,
)
from holdfast_inventory.watches.followers import (
    Access,
    Follower,
    FollowerLimits,
    LedgerReader,
    MovementFollower,
    StockFollower,
)
from holdfast_inventory.watches.lifetime import Lifetime

if TYPE_CHECKING:
    from holdfast_inventory.domain.movement import Movement
    from holdfast_inventory.ports import Committed

__all__ = ["Change", "FeedLimits", "Heartbeat", "MovementEvent", "Snapshot", "StockEvent", "StockFeed"]

_CONCURRENT_READS = 4
_POLLS_PER_SECOND = 100.0
_RETRY_SECONDS = (3.0, 8.0)
"""The range of the random retry delay of a refused watch. It is long because watches rarely end."""
_ELSEWHERE_SECONDS = (0.1, 1.0)
"""The range of the random retry delay of a watch that a drain ended. It is random because all end at once."""
_END_SECONDS = 2.0

_Event = TypeVar("_Event", bound=StockEvent | MovementEvent)
_Following = TypeVar("_Following", bound=Follower)


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Limits of the number of watches and of their waits.

    `poll_seconds`: how late a change may be seen without a message from its replica. `reader_seconds`: how long a
    reader may take to accept one event before its watch ends. `lifetime`: how long a watch may last.
    """

    max_watches: int = 1_000
    max_watches_per_sale: int = 500
    heartbeat_seconds: float = 10.0
    poll_seconds: float = 0.3
    reader_seconds: float = 30.0
    lifetime: Lifetime = field(default_factory=lambda: Lifetime(150.0, 300.0))
    followers: FollowerLimits = field(default_factory=FollowerLimits)


class StockFeed:
    """The watches of a process, which share one follower per sale.

    A watch raises NotFound, InvalidRequest (the resume token), Overloaded and DatabaseUnavailable at its first event.
    Later it ends with WatchExpired, ReaderTooSlow or Draining, or with DatabaseUnavailable after a long outage. Close
    it (`contextlib.aclosing`): it counts against the limits until then.
    """

    def __init__(
        self,
        reader: LedgerReader,
        limits: FeedLimits | None = None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`reader` is the `postgres.catalog.Catalog`."""
        self._limits = limits or FeedLimits()
        self._entropy = entropy
        self._clock = clock
        self._access = Access(
            reader,
            asyncio.Semaphore(_CONCURRENT_READS),
            self._poll_seconds,
            self._limits.followers,
            clock,
            entropy,
        )
        self._stock: dict[str, StockFollower] = {}
        self._movements: dict[str, MovementFollower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watches = 0
        self._draining = False
        self._nobody = asyncio.Event()
        self._nobody.set()

    @property
    def watches(self) -> int:
        """The number of open watches."""
        return self._watches

    def on_committed(self, change: "Committed") -> None:
        """Process a commit of this process. Cheap if its sale is not watched."""
        for follower in self._of(change.sale_id):
            follower.on_committed(change)

    def nudge(self, sale_id: str, sequence: int) -> None:
        """Read the sale's ledger, because another replica says that it has reached `sequence`."""
        for follower in self._of(sale_id):
            follower.heard(sequence)

    async def watch_stock(self, sale_id: str, resume_token: str = "") -> AsyncGenerator[StockEvent]:
        """Yield a snapshot, or the changes after the resume token, then each new change, and heartbeats in between."""
        ends_at = self._ends_at()
        position = resumed_sequence(WatchKind.STOCK, sale_id, resume_token) if resume_token else None
        async with (
            self._place(self._stock, StockFollower, sale_id) as follower,
            aclosing(self._stock_events(follower, position)) as events,
            aclosing(self._paced(events, ends_at)) as paced,
        ):
            async for event in paced:
                yield event

    async def watch_movements(
        self, sale_id: str, after_sequence: int = 0, resume_token: str = ""
    ) -> AsyncGenerator[MovementEvent]:
        """Yield the movements after the resume token, or else after `after_sequence`; empty events are heartbeats."""
        ends_at = self._ends_at()
        if resume_token:
            after_sequence = resumed_sequence(WatchKind.MOVEMENTS, sale_id, resume_token)
        async with (
            self._place(self._movements, MovementFollower, sale_id) as follower,
            aclosing(self._movement_events(follower, after_sequence)) as events,
            aclosing(self._paced(events, ends_at)) as paced,
        ):
            async for event in paced:
                yield event

    async def end_watches(self) -> None:
        """End every watch with Draining, and admit no more.

        Return when all have ended, or after 2 s: a watch whose reader is stuck ends when the reader is closed.
        """
        self._draining = True
        for follower in (*self._stock.values(), *self._movements.values()):
            follower.announce()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await self._nobody.wait()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        except TimeoutError:
            for task in self._tasks:
                task.cancel()

    async def _stock_events(self, follower: StockFollower, position: int | None) -> AsyncGenerator[StockEvent]:
        lagged = position is not None
        if position is not None and not await follower.reach_back(position):
            position = None
        # A resumed watch gets an event at once, even if nothing has changed.
        wait_seconds = 0.0
        while True:
            self._check(follower)
            changes = None if position is None else follower.changes_after(position)
            if position is None or changes is None:
                position = follower.sequence
                token = resume_token(WatchKind.STOCK, follower.sale_id, position)
                yield Snapshot(follower.levels(), position, lagged, token)
                lagged = True
            elif changes:
                for change in changes:
                    yield change
                position = changes[-1].sequence
            elif not await follower.news_within(wait_seconds):
                yield Heartbeat(position, resume_token(WatchKind.STOCK, follower.sale_id, position))
            wait_seconds = self._limits.heartbeat_seconds

    async def _movement_events(self, follower: MovementFollower, position: int) -> AsyncGenerator[MovementEvent]:
        outage = self._access.outage()
        heartbeat_at = self._clock.monotonic()  # An event at once, as above.
        while True:
            self._check(follower)
            movements: list[Movement] = []
            wait_seconds = max(0.0, heartbeat_at - self._clock.monotonic())
            try:
                movements = await follower.movements_after(position)
                outage.over()
            except (DatabaseUnavailable, Overloaded) as error:
                wait_seconds = min(wait_seconds, outage.failed(error))
            if not movements:
                await follower.news_within(wait_seconds)
                if self._clock.monotonic() < heartbeat_at:
                    continue
            position = movements[-1].sequence if movements else position
            yield MovementEvent(movements, resume_token(WatchKind.MOVEMENTS, follower.sale_id, position))
            heartbeat_at = self._heartbeat_at()

    def _ends_at(self) -> float:
        return self._clock.monotonic() + self._limits.lifetime.drawn(self._entropy)

    def _heartbeat_at(self) -> float:
        return self._clock.monotonic() + self._limits.heartbeat_seconds

    def _check(self, follower: Follower) -> None:
        if self._draining:
            raise Draining(self._entropy.uniform(*_ELSEWHERE_SECONDS))
        follower.check()

    async def _paced(self, events: AsyncIterator[_Event], ends_at: float) -> AsyncGenerator[_Event]:
        """Yield the events until the reader takes too long for one, or the lifetime of the watch is over."""
        async for event in events:
            given_at = self._clock.monotonic()
            yield event
            now = self._clock.monotonic()
            if now - given_at > self._limits.reader_seconds:
                raise ReaderTooSlow
            if now >= ends_at:
                raise WatchExpired(event.resume_token)

    @asynccontextmanager
    async def _place(
        self, followers: dict[str, _Following], start: Callable[[str, Access], _Following], sale_id: str
    ) -> AsyncGenerator[_Following]:
        """Count a watch of the sale. The first one starts the sale's follower, the last one stops it."""
        follower = followers.get(sale_id)
        self._admit(follower)
        if follower is None or follower.failure is not None:
            follower = followers[sale_id] = start(sale_id, self._access)
            self._tasks.add(follower.task)
            follower.task.add_done_callback(self._tasks.discard)
        self._enter(follower)
        try:
            await follower.opened()
            yield follower
        finally:
            self._leave(follower)
            if not follower.watchers and followers.get(sale_id) is follower:
                del followers[sale_id]

    def _admit(self, follower: Follower | None) -> None:
        if self._draining:
            raise Draining
        watches_of_sale = 0 if follower is None else follower.watchers
        if self._watches >= self._limits.max_watches or watches_of_sale >= self._limits.max_watches_per_sale:
            raise Overloaded(self._entropy.uniform(*_RETRY_SECONDS))

    def _enter(self, follower: Follower) -> None:
        follower.watchers += 1
        self._watches += 1
        self._nobody.clear()

    def _leave(self, follower: Follower) -> None:
        follower.watchers -= 1
        self._watches -= 1
        if not follower.watchers:
            follower.stop()
        if not self._watches:
            self._nobody.set()

    def _of(self, sale_id: str) -> list[Follower]:
        followers = (self._stock.get(sale_id), self._movements.get(sale_id))
        return [follower for follower in followers if follower is not None]

    def _poll_seconds(self) -> float:
        """Return the poll interval. It grows with the number of watched sales, to bound the load of the database."""
        return max(self._limits.poll_seconds, len(self._tasks) / _POLLS_PER_SECOND)
