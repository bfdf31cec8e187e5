"""Notes of refused creates: counted in memory, and written in groups in the background.

A note costs about a microsecond, in a call that costs more than a hundred, and nothing waits for the database. A
process that is killed loses what it has noted since the last write.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Protocol

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_inventory.background.recurring import Recurring
from holdfast_inventory.domain.errors import DatabaseUnavailable, DomainError
from holdfast_inventory.domain.refusal import CustomerRefusal, Key, RefusalCount
from holdfast_inventory.domain.reservation import Line

MAX_COUNTS = 10_000
"""The most pairs of sale and reason between two writes."""
MAX_CUSTOMERS = 5_000
"""The most triples of customer, sale and reason that wait to be written."""
_CUSTOMERS_AT_ONCE = 100
"""The most of them in one write, so that a stampede of refusals does not become one of writes."""
_CLEAN_SECONDS = 60.0
_STOP_SECONDS = 2.0

_log = get_logger("holdfast.refusals")


@dataclass(frozen=True, slots=True)
class RefusalLimits:
    """How often refusals are written, and how long they are kept."""

    flush_seconds: float = 1.0
    kept_days: float = 90.0
    customers_kept_hours: float = 48.0
    """0: customers' refusals are not kept."""

    @property
    def kept_for(self) -> timedelta:
        """How long counts are kept."""
        return timedelta(days=self.kept_days)

    @property
    def customers_kept_for(self) -> timedelta:
        """How long customers' refusals are kept after the last one."""
        return timedelta(hours=self.customers_kept_hours)


class RefusalStore(Protocol):
    """The store of refusals."""

    async def add(self, counts: Sequence[RefusalCount], customers: Sequence[CustomerRefusal]) -> None:
        """Add refusals to those that are stored. Raises `DatabaseUnavailable` and `OutcomeUnknown`."""

    async def delete_old(self, counts_kept_for: timedelta, customers_kept_for: timedelta) -> bool:
        """Delete what is older. Return whether there may be more. Raises like `add`."""


class RefusalNotes:
    """Notes refused creates, and writes them about once per interval. `start` and `stop` may be called twice."""

    def __init__(
        self,
        store: RefusalStore,
        limits: RefusalLimits,
        on_dropped: Callable[[int], None],
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        """`on_dropped` is called with the number of refusals that were not kept, because there are too many."""
        self._store = store
        self._limits = limits
        self._on_dropped = on_dropped
        self._now = clock.now
        self._keeps_customers = limits.customers_kept_hours > 0
        self._counts: dict[tuple[str, str], int] = {}
        self._customers: dict[Key, CustomerRefusal] = {}
        self._dropped = 0
        self._writes = Recurring("write refusals", self.write, limits.flush_seconds, entropy)
        self._cleans = Recurring("delete old refusals", self._clean, _CLEAN_SECONDS, entropy)

    def note(self, sale_id: str, customer: str, lines: tuple[Line, ...], refusal: DomainError) -> None:
        """Note that a create was refused."""
        reason = refusal.reason
        self._count((sale_id, reason), 1)
        if self._keeps_customers:
            key = (customer, sale_id, reason)
            if self._has_room(key):
                now = self._now()
                self._keep(key, CustomerRefusal(customer, sale_id, reason, 1, now, now, lines))
            else:
                self._dropped += 1

    async def start(self) -> None:
        """Start writing."""
        await self._writes.start()
        await self._cleans.start()

    async def stop(self) -> None:
        """Stop, and write what is left, in at most five seconds."""
        await asyncio.gather(self._cleans.stop(), self._writes.stop())
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                while self._counts or self._customers:
                    await self.write()
        except (DomainError, TimeoutError) as error:
            _log.warning("refusals were not written", error=repr(error), customers=len(self._customers))

    async def write(self) -> bool:
        """Write the counts, and as many customers' refusals as are written at once. Return False: the rest can wait."""
        if self._dropped:
            self._on_dropped(self._dropped)
            self._dropped = 0
        counts, self._counts = self._counts, {}
        customers = [self._customers.pop(key) for key in list(islice(self._customers, _CUSTOMERS_AT_ONCE))]
        if counts or customers:
            try:
                await self._store.add([RefusalCount(*key, refusals) for key, refusals in counts.items()], customers)
            except DatabaseUnavailable:
                self._put_back(counts, customers)
                raise
        return False

    async def _clean(self) -> bool:
        return await self._store.delete_old(self._limits.kept_for, self._limits.customers_kept_for)

    def _count(self, key: tuple[str, str], refusals: int) -> None:
        counted = self._counts.get(key)
        if counted is not None:
            self._counts[key] = counted + refusals
        elif len(self._counts) < MAX_COUNTS:
            self._counts[key] = refusals
        else:
            self._dropped += refusals

    def _has_room(self, key: Key) -> bool:
        return len(self._customers) < MAX_CUSTOMERS or key in self._customers

    def _keep(self, key: Key, note: CustomerRefusal) -> None:
        noted = self._customers.get(key)
        self._customers[key] = note if noted is None else noted.plus(note)

    def _put_back(self, counts: Mapping[tuple[str, str], int], customers: Sequence[CustomerRefusal]) -> None:
        for counted, refusals in counts.items():
            self._count(counted, refusals)
        later, self._customers = self._customers, {note.key: note for note in customers}
        for key, note in later.items():
            if self._has_room(key):
                self._keep(key, note)
            else:
                self._dropped += note.refusals
