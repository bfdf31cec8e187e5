"""The followers: one reader of the ledger per watched sale, shared by all of its watches."""

import asyncio
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Protocol

from holdfast_chassis.backoff import Backoff
from holdfast_chassis.clock import Clock
from holdfast_chassis.entropy import Entropy
from holdfast_chassis.logs import get_logger
from holdfast_inventory.domain.errors import DatabaseUnavailable, DomainError, Internal, Overloaded
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.movement import Movement
from holdfast_inventory.watches.events import Change, WatchKind, resume_token

if TYPE_CHECKING:
    from holdfast_inventory.ports import Committed
    from holdfast_inventory.postgres.catalog import SaleView

PAGE_MOVEMENTS = 1_000
"""The most movements that are read, or given to a reader, at once."""

PAGE_CHANGES = 100
"""The most changes that are given to a reader before it is checked again whether the reader keeps up."""

_PAUSE_SECONDS = 0.02
"""The least time between two reads of a ledger: commits of other replicas cause at most 50 reads a second."""

_FIRST_RETRY_SECONDS = 0.2
_MOST_RETRY_SECONDS = 2.0

_log = get_logger("holdfast.feed")


class LedgerReader(Protocol):
    """The reads that a follower needs. `postgres.catalog.Catalog` has them."""

    async def get_sale(self, sale_id: str) -> "SaleView":
        """Read a sale. Raises NotFound."""
        ...

    async def get_item(self, sale_id: str, item_id: str) -> Item:
        """Read an item. Raises NotFound."""
        ...

    async def snapshot(self, sale_id: str) -> tuple[int, list[Item]]:
        """Return the sale's sequence and all of its items, from one snapshot. Raises NotFound."""
        ...

    async def list_movements(self, sale_id: str, after_sequence: int, limit: int) -> list[Movement]:
        """Return up to `limit` movements after a sequence, in order and without gaps."""
        ...


@dataclass(frozen=True, slots=True)
class FollowerLimits:
    """The limits of a follower's memory and waits.

    `ring_items` and `ring_movements` bound what is kept for readers that lag a little. To catch up, a follower reads at
    most `replay_movements`; beyond that it starts again from a snapshot. `outage_seconds` is how long the database may
    be unavailable before the watches end.
    """

    ring_items: int = 16_384
    ring_movements: int = 4_096
    replay_movements: int = 10_000
    outage_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """The database access that all followers of a process share.

    `gate` limits concurrent reads; `poll_seconds` returns the longest time between two reads of one follower.
    """

    reader: LedgerReader
    gate: asyncio.Semaphore
    poll_seconds: Callable[[], float]
    limits: FollowerLimits
    clock: Clock
    entropy: Entropy

    def outage(self) -> "Outage":
        """Return an outage counter for one reader."""
        return Outage(self.limits.outage_seconds, self.clock, self.entropy)


class Outage:
    """The duration of a database outage, as one reader sees it."""

    def __init__(self, patience_seconds: float, clock: Clock, entropy: Entropy) -> None:
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS, entropy)
        self._since: float | None = None

    def failed(self, error: DomainError) -> float:
        """Return the seconds until the next attempt. Raises `error` when the outage has lasted too long."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > self._patience_seconds:
            raise error
        return self._backoff.next_seconds()

    def over(self) -> None:
        """End the outage: a read succeeded."""
        self._since = None
        self._backoff.reset()


class Follower(ABC):
    """A task that reads one sale's ledger while the sale is watched.

    It reads when it is told of a commit and, because messages can get lost, at intervals. `sequence` is the last
    movement that it knows.
    """

    def __init__(self, sale_id: str, access: Access) -> None:
        self.sale_id = sale_id
        self.sequence = 0
        self.watchers = 0
        self.failure: DomainError | None = None
        self._reader = access.reader
        self._gate = access.gate
        self._poll_seconds = access.poll_seconds
        self._limits = access.limits
        self._outage = access.outage()
        self._is_open = False
        self._stopped = False
        self._due = asyncio.Event()
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._follow(), name=f"follow {sale_id}")

    @abstractmethod
    def on_committed(self, change: "Committed") -> None:
        """Process a batch that this process committed."""

    @abstractmethod
    async def _open(self) -> None:
        """Read the sale's present state. Raises NotFound and DatabaseUnavailable."""

    @abstractmethod
    async def _read(self) -> None:
        """Read the next movements. Raises DatabaseUnavailable."""

    def heard(self, sequence: int) -> None:
        """Schedule a read, because another replica says that the sale has reached this sequence."""
        if sequence > self.sequence:
            self._due.set()

    def announce(self) -> None:
        """Wake all readers that wait for changes."""
        self._news.set()
        self._news = asyncio.Event()

    async def opened(self) -> None:
        """Wait until the sale's present state is known. Raises the error that prevents it."""
        while not self._is_open:
            self.check()
            await self._news.wait()

    def check(self) -> None:
        """Raise the error that ended the follower, if there is one."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    async def news_within(self, timeout_seconds: float) -> bool:
        """Wait for the next announcement. Return False if there was none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                return await self._news.wait()
        return False

    def stop(self) -> None:
        """End after the read in progress, because cancelling a query costs its connection."""
        self._stopped = True
        self._due.set()

    async def _follow(self) -> None:
        try:
            async with self._gate:
                await self._open()
            self._is_open = True
            self.announce()
            while not self._stopped:
                await self._follow_once()
        except DomainError as error:
            self.failure = error
        except Exception:  # noqa: BLE001 - watches must end and not hang after any error
            _log.exception("following a sale failed", sale=self.sale_id)
            self.failure = Internal()
        finally:
            self.announce()

    async def _follow_once(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds()):
                await self._due.wait()
        if self._stopped:
            return
        self._due.clear()
        try:
            async with self._gate:
                await self._read()
        except (DatabaseUnavailable, Overloaded) as error:
            self._due.set()
            await asyncio.sleep(self._outage.failed(error))
        else:
            self._outage.over()
            await asyncio.sleep(_PAUSE_SECONDS)


class StockFollower(Follower):
    """A follower that keeps a sale's stock levels, and their latest changes in a ring."""

    def __init__(self, sale_id: str, access: Access) -> None:
        super().__init__(sale_id, access)
        self._levels: dict[str, Item] = {}
        self._ring: deque[Change] = deque()
        self._ring_items = 0
        self._reaching_back = asyncio.Lock()

    def on_committed(self, change: "Committed") -> None:
        """Append the commit if it follows directly on the known sequence; otherwise read the ledger."""
        if self._is_open and change.previous_sequence == self.sequence:
            self._append(change.sequence, change.items)
            self.announce()
        else:
            self.heard(change.sequence)

    def levels(self) -> list[Item]:
        """Return all items by id, after the movement `sequence`."""
        return [item for _, item in sorted(self._levels.items())]

    def changes_after(self, sequence: int) -> list[Change] | None:
        """Return a page of the changes after a sequence; None if the ring does not reach back to it."""
        if sequence >= self.sequence:
            return []
        first = bisect_right(self._ring, sequence, key=lambda change: change.sequence)
        changes = list(islice(self._ring, first, first + PAGE_CHANGES))
        if not changes or changes[0].previous_sequence > sequence:
            return None
        if changes[0].previous_sequence < sequence:
            # Another replica divided the movements differently. Levels are absolute, so they are valid from here, too.
            changes[0] = replace(changes[0], previous_sequence=sequence)
        return changes

    async def reach_back(self, sequence: int) -> bool:
        """Extend the ring back to `sequence` if it is not too far back. Return False if that is not possible.

        Raises DatabaseUnavailable. Readers that resume together share one read.
        """
        async with self._reaching_back:
            if sequence > self.sequence:
                # Another replica is ahead of this one, or the database was restored from a backup and is behind.
                self.heard(sequence)
                async with self._gate:
                    return bool(await self._reader.list_movements(self.sale_id, sequence - 1, 1))
            behind = self.sequence - sequence
            if self.changes_after(sequence) is None and behind <= self._limits.replay_movements:
                await self._replay(sequence)
        return True

    async def _replay(self, first: int) -> None:
        """Undo the movements since `first` on a copy of the levels, and redo them change by change."""
        last, levels = self.sequence, dict(self._levels)
        async with self._gate:
            movements = await self._movements_between(first, last)
        undo(levels, movements)
        newer = [change for change in self._ring if change.sequence > last]
        if last != (newer[0].previous_sequence if newer else self.sequence):
            return  # The follower started again from a snapshot meanwhile.
        self._ring.clear()
        self._ring_items = 0
        position = first
        for sequence, items in redo(levels, movements):
            self._remember(position, sequence, items)
            position = sequence
        for change in newer:
            self._remember(change.previous_sequence, change.sequence, change.items)

    async def _movements_between(self, first: int, last: int) -> list[Movement]:
        movements: list[Movement] = []
        while first < last:
            page = await self._reader.list_movements(self.sale_id, first, min(PAGE_MOVEMENTS, last - first))
            if not page:
                break
            movements += page
            first = page[-1].sequence
        return movements

    async def _open(self) -> None:
        self.sequence, items = await self._reader.snapshot(self.sale_id)
        self._levels = {item.item_id: item for item in items}
        self._ring.clear()
        self._ring_items = 0

    async def _read(self) -> None:
        movements: list[Movement] = []
        page = await self._reader.list_movements(self.sale_id, self.sequence, PAGE_MOVEMENTS)
        while page:
            # Read until a page is not full: only the end of such a page is certainly the end of a batch.
            movements += page
            if len(movements) > self._limits.replay_movements:
                await self._open()
                self.announce()
                return
            if len(page) < PAGE_MOVEMENTS:
                break
            page = await self._reader.list_movements(self.sale_id, movements[-1].sequence, PAGE_MOVEMENTS)
        for item_id in {movement.item_id for movement in movements} - self._levels.keys():
            await self._meet(item_id)
        # A local commit may have been appended during the read.
        unknown = [movement for movement in movements if movement.sequence > self.sequence]
        for sequence, items in redo(self._levels, unknown):
            self._append(sequence, items)
        if unknown:
            self.announce()

    async def _meet(self, item_id: str) -> None:
        """Add an item that was created after the snapshot. Its stock follows from its movements."""
        item = await self._reader.get_item(self.sale_id, item_id)
        self._levels.setdefault(item_id, item._replace(on_hand=0, held=0, sold=0, version=0))

    def _append(self, sequence: int, items: Iterable[Item]) -> None:
        by_id = sorted(items, key=lambda item: item.item_id)
        self._levels.update({item.item_id: item for item in by_id})
        self._remember(self.sequence, sequence, by_id)
        self.sequence = sequence

    def _remember(self, previous_sequence: int, sequence: int, items: Sequence[Item]) -> None:
        token = resume_token(WatchKind.STOCK, self.sale_id, sequence)
        self._ring.append(Change(items, previous_sequence, sequence, token))
        self._ring_items += len(items)
        while self._ring_items > self._limits.ring_items:
            self._ring_items -= len(self._ring.popleft().items)


class MovementFollower(Follower):
    """A follower that keeps a sale's latest movements in a ring. Readers get older ones from the ledger."""

    def __init__(self, sale_id: str, access: Access) -> None:
        super().__init__(sale_id, access)
        self._ring: deque[Movement] = deque(maxlen=access.limits.ring_movements)

    def on_committed(self, change: "Committed") -> None:
        """Schedule a read: a commit has levels, but the movements are in the ledger."""
        self.heard(change.sequence)

    async def movements_after(self, sequence: int) -> list[Movement]:
        """Return a page of the movements after a sequence. Raises DatabaseUnavailable."""
        if sequence >= self.sequence:
            return []
        if self._ring and self._ring[0].sequence <= sequence + 1:
            first = sequence + 1 - self._ring[0].sequence
            return list(islice(self._ring, first, first + PAGE_MOVEMENTS))
        async with self._gate:
            return await self._reader.list_movements(self.sale_id, sequence, PAGE_MOVEMENTS)

    async def _open(self) -> None:
        self.sequence = (await self._reader.get_sale(self.sale_id)).sale.sequence

    async def _read(self) -> None:
        page = await self._reader.list_movements(self.sale_id, self.sequence, PAGE_MOVEMENTS)
        while page:
            self._ring.extend(page)
            self.sequence = page[-1].sequence
            self.announce()
            if len(page) < PAGE_MOVEMENTS:
                break
            page = await self._reader.list_movements(self.sale_id, self.sequence, PAGE_MOVEMENTS)


def redo(levels: Mapping[str, Item], movements: Iterable[Movement]) -> Iterator[tuple[int, list[Item]]]:
    """Yield each batch's last sequence and its changed items by id, starting from the levels before the first.

    `levels` must contain every item. The movements of one batch have the same time.
    """
    current = dict(levels)
    for _, batch in groupby(movements, key=lambda movement: movement.created_at):
        moved: set[str] = set()
        sequence = 0
        for movement in batch:
            sequence = movement.sequence
            current[movement.item_id] = moved_by(current[movement.item_id], movement, 1)
            moved.add(movement.item_id)
        yield sequence, [current[item_id] for item_id in sorted(moved)]


def undo(levels: dict[str, Item], movements: Iterable[Movement]) -> None:
    """Undo movements. The resulting versions have no meaning."""
    for movement in movements:
        levels[movement.item_id] = moved_by(levels[movement.item_id], movement, -1)


def moved_by(item: Item, movement: Movement, sign: int) -> Item:
    """Return the item after a movement, or with sign -1 before it."""
    return item._replace(
        on_hand=item.on_hand + sign * movement.on_hand_delta,
        held=item.held + sign * movement.held_delta,
        sold=item.sold + sign * movement.sold_delta,
        version=movement.sequence,
    )
