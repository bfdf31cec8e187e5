"""One reader of the ledger for each watched sale, however many watch it."""

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
"""Movements that are read, or given to a reader, at once."""

PAGE_CHANGES = 100
"""Changes that are given to a reader at once; after these it is looked at again whether it keeps up."""

_PAUSE_SECONDS = 0.02
"""Between two reads of a ledger, so that a storm of other replicas' commits costs at most 50 reads a second."""

_FIRST_RETRY_SECONDS = 0.2
_MOST_RETRY_SECONDS = 2.0

_log = get_logger("holdfast.feed")


class LedgerReader(Protocol):
    """What following a sale takes: the reads of `postgres.catalog.Catalog` by the same names."""

    async def get_sale(self, sale_id: str) -> "SaleView":
        """Raises NotFound."""
        ...

    async def get_item(self, sale_id: str, item_id: str) -> Item:
        """Raises NotFound."""
        ...

    async def snapshot(self, sale_id: str) -> tuple[int, list[Item]]:
        """The sale's sequence and all of its items, at one moment. Raises NotFound."""
        ...

    async def list_movements(self, sale_id: str, after_sequence: int, limit: int) -> list[Movement]:
        """Up to `limit` movements behind a sequence, in order and without gaps."""
        ...


@dataclass(frozen=True, slots=True)
class FollowerLimits:
    """How far a follower remembers, and how long it waits.

    `ring_items` and `ring_movements` bound what is kept for readers that lag a little; `replay_movements` is the
    most that is read back, or caught up with, rather than beginning again from a snapshot. `outage_seconds` is how
    long the database may stay away before the watches end.
    """

    ring_items: int = 16_384
    ring_movements: int = 4_096
    replay_movements: int = 10_000
    outage_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """What all followers of a process share.

    `gate` bounds how many read at once; `poll_seconds` tells the longest time between two reads of one follower.
    """

    reader: LedgerReader
    gate: asyncio.Semaphore
    poll_seconds: Callable[[], float]
    limits: FollowerLimits
    clock: Clock
    entropy: Entropy

    def outage(self) -> "Outage":
        """For one that reads, to count by."""
        return Outage(self.limits.outage_seconds, self.clock, self.entropy)


class Outage:
    """Counts how long the database has been away, as one of its readers sees it."""

    def __init__(self, patience_seconds: float, clock: Clock, entropy: Entropy) -> None:
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _MOST_RETRY_SECONDS, entropy)
        self._since: float | None = None

    def failed(self, error: DomainError) -> float:
        """Seconds after which to try again. Raises `error` when it has lasted too long."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > self._patience_seconds:
            raise error
        return self._backoff.next_seconds()

    def over(self) -> None:
        """A read worked."""
        self._since = None
        self._backoff.reset()


class Follower(ABC):
    """Reads one sale's ledger on from where it stands, until nobody watches.

    It reads when a commit is heard of and, because hearing may fail, every now and then. `sequence` is the last
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
        """A batch of this process was committed."""

    @abstractmethod
    async def _open(self) -> None:
        """Finds where the sale stands. Raises NotFound and DatabaseUnavailable."""

    @abstractmethod
    async def _read(self) -> None:
        """Reads on. Raises DatabaseUnavailable."""

    def heard(self, sequence: int) -> None:
        """Somebody says that the sale has come this far; not believed, only a reason to look."""
        if sequence > self.sequence:
            self._due.set()

    def announce(self) -> None:
        """Wakes everybody who waits for news."""
        self._news.set()
        self._news = asyncio.Event()

    async def opened(self) -> None:
        """Returns when it knows where the sale stands. Raises what came between."""
        while not self._is_open:
            self.check()
            await self._news.wait()

    def check(self) -> None:
        """Raises what ended it, if anything did."""
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    async def news_within(self, timeout_seconds: float) -> bool:
        """Returns at the next announcement; False when there was none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                return await self._news.wait()
        return False

    def stop(self) -> None:
        """Lets it end behind the read that it is in, for a query that is cut off costs its connection."""
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
        except Exception:  # noqa: BLE001 - whatever it is, watches must end and not hang
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
    """Keeps a sale's stock levels, and the latest of the changes that led to them in a ring."""

    def __init__(self, sale_id: str, access: Access) -> None:
        super().__init__(sale_id, access)
        self._levels: dict[str, Item] = {}
        self._ring: deque[Change] = deque()
        self._ring_items = 0
        self._reaching_back = asyncio.Lock()

    def on_committed(self, change: "Committed") -> None:
        """Appends it right away if it follows on what is known; otherwise the ledger has what lies between."""
        if self._is_open and change.previous_sequence == self.sequence:
            self._append(change.sequence, change.items)
            self.announce()
        else:
            self.heard(change.sequence)

    def levels(self) -> list[Item]:
        """All items by id, as they are after `sequence`."""
        return [item for _, item in sorted(self._levels.items())]

    def changes_after(self, sequence: int) -> list[Change] | None:
        """The next changes behind a sequence, a page of them; None when the ring does not reach so far back."""
        if sequence >= self.sequence:
            return []
        first = bisect_right(self._ring, sequence, key=lambda change: change.sequence)
        changes = list(islice(self._ring, first, first + PAGE_CHANGES))
        if not changes or changes[0].previous_sequence > sequence:
            return None
        if changes[0].previous_sequence < sequence:
            # Another replica drew the line elsewhere. Levels are absolute, so they hold from here on as well.
            changes[0] = replace(changes[0], previous_sequence=sequence)
        return changes

    async def reach_back(self, sequence: int) -> bool:
        """Makes the ring begin at or before `sequence` if it is not too far back; False if there is no such one.

        Raises DatabaseUnavailable. Readers that resume together share one read.
        """
        async with self._reaching_back:
            if sequence > self.sequence:
                # Another replica is ahead of us; or the database was restored from a backup, and is behind.
                self.heard(sequence)
                async with self._gate:
                    return bool(await self._reader.list_movements(self.sale_id, sequence - 1, 1))
            behind = self.sequence - sequence
            if self.changes_after(sequence) is None and behind <= self._limits.replay_movements:
                await self._replay(sequence)
        return True

    async def _replay(self, first: int) -> None:
        """Undoes what happened since `first` on a copy of the levels, and does it again change by change."""
        last, levels = self.sequence, dict(self._levels)
        async with self._gate:
            movements = await self._movements_between(first, last)
        undo(levels, movements)
        newer = [change for change in self._ring if change.sequence > last]
        if last != (newer[0].previous_sequence if newer else self.sequence):
            return  # It began again from a snapshot in the meantime.
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
            # On to a page that is not full: only its end is surely the end of a batch.
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
        # A local commit may have been appended while we read.
        unknown = [movement for movement in movements if movement.sequence > self.sequence]
        for sequence, items in redo(self._levels, unknown):
            self._append(sequence, items)
        if unknown:
            self.announce()

    async def _meet(self, item_id: str) -> None:
        """Learns of an item that is new since the snapshot. Its stock comes by its movements."""
        item = await self._reader.get_item(self.sale_id, item_id)
        self._levels.setdefault(item_id, replace(item, on_hand=0, held=0, sold=0, version=0))

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
    """Keeps the latest of a sale's movements in a ring. What lies before it, readers get from the ledger."""

    def __init__(self, sale_id: str, access: Access) -> None:
        super().__init__(sale_id, access)
        self._ring: deque[Movement] = deque(maxlen=access.limits.ring_movements)

    def on_committed(self, change: "Committed") -> None:
        """A commit tells levels, not movements: the ledger has them."""
        self.heard(change.sequence)

    async def movements_after(self, sequence: int) -> list[Movement]:
        """The next movements behind a sequence, a page of them. Raises DatabaseUnavailable."""
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
    """Each batch's last sequence and the items as it left them, by id, from the levels before the first.

    `levels` must know every item. Movements of one batch share the time at which it read the database's clock.
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
    """Takes movements back. The versions that it leaves mean nothing."""
    for movement in movements:
        levels[movement.item_id] = moved_by(levels[movement.item_id], movement, -1)


def moved_by(item: Item, movement: Movement, sign: int) -> Item:
    """The item after a movement, or with sign -1 without it."""
    return replace(
        item,
        on_hand=item.on_hand + sign * movement.on_hand_delta,
        held=item.held + sign * movement.held_delta,
        sold=item.sold + sign * movement.sold_delta,
        version=movement.sequence,
    )
