"""The interface for all changes of stock."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from holdfast_chassis.clock import thread_cpu_seconds
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tracing import SpanContext, current_span
from holdfast_inventory.domain import identity
from holdfast_inventory.domain.commands import Command, Create, Sweep, Transfer
from holdfast_inventory.domain.decide import Answer, Decision, Reply, State, Transferred, decide_transfer
from holdfast_inventory.domain.errors import (
    DatabaseUnavailable,
    DeadlineInQueue,
    DomainError,
    InsufficientStock,
    Internal,
    OutcomeUnknown,
)
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.ports import Committed, InDoubt, NotApplied, Rejected, SaleStore
from holdfast_inventory.stock.batch_spans import BatchSpans
from holdfast_inventory.stock.bound_ids import BoundIds
from holdfast_inventory.stock.group_commit import GroupCommit, GroupCommitLimits
from holdfast_inventory.stock.sold_out import SoldOut

T = TypeVar("T")

log = get_logger("holdfast.stock_ledger")

_MAX_SALTS = 10_000


class LedgerMetrics(Protocol):
    """The ledger's metrics."""

    def on_batch(self, size: int, seconds: float) -> None:
        """Observe that a batch of `size` commands took `seconds`."""

    def on_waited(self, seconds: float) -> None:
        """Observe the seconds that a command waited for its batch."""

    def refused_from_memory(self) -> None:
        """Count a create that was refused from memory."""


class _Starved(Exception):
    """A shortage may be caused by due holds that were not read: end them first."""


class StockLedger:
    """Executes commands on sales, each exactly once. Deadlines are loop times, in seconds.

    Every refusal is a `DomainError`. In addition to the refusals of the command there are `Overloaded`, `Draining`,
    `DeadlineInQueue` and `DatabaseUnavailable`, which mean that nothing was done, and `OutcomeUnknown`.
    """

    def __init__(
        self,
        store: SaleStore,
        limits: GroupCommitLimits,
        metrics: LedgerMetrics,
        on_commit: Callable[[Committed], None],
        *,
        sold_out_seconds: float = 0.2,
        entropy: Entropy = SYSTEM_ENTROPY,
        cpu_seconds: Callable[[], float] = thread_cpu_seconds,
        spans: BatchSpans | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._metrics = metrics
        self._on_commit = on_commit
        self._entropy = entropy
        self._sold_out = SoldOut(sold_out_seconds)
        self._bound_ids = BoundIds(store)
        self._groups = GroupCommit(store, limits, self, entropy=entropy, cpu_seconds=cpu_seconds, spans=spans)
        self._salts: dict[str, bytes] = {}
        self._salt_reads: dict[str, asyncio.Task[bytes]] = {}

    @property
    def waiting(self) -> int:
        """The number of commands that wait for a batch."""
        return self._groups.waiting

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no more commands, and wait for the queued ones and those in flight."""
        await self._groups.stop(timeout_seconds)

    async def salt(self, sale_id: str, deadline: float | None = None) -> bytes:
        """Return the secret from which a sale's ids are derived. Raises `NotFound`, `DatabaseUnavailable` and
        `DeadlineInQueue`.
        """
        known = self._salts.get(sale_id)
        if known is not None:
            return known
        reading = self._salt_reads.get(sale_id)
        if reading is None:
            reading = self._salt_reads[sale_id] = asyncio.ensure_future(self._store.salt(sale_id))
            reading.add_done_callback(lambda done: self._salt_was_read(sale_id, done))
        # Shielded, because others may wait for the same salt.
        return await self._in_time(asyncio.shield(reading), deadline)

    async def stock_change_id(self, sale_id: str, request_id: str, deadline: float | None) -> UUID:
        """Return the id to which a request id is bound that is not a reservation's; a random one without it.

        Raises like `salt`.
        """
        if not request_id:
            return self._entropy.uuid4()
        return identity.stock_change_id(await self.salt(sale_id, deadline), request_id)

    async def execute(self, sale_id: str, command: Command, deadline: float | None) -> Reply:
        """Execute one command."""
        begun = self._begin(sale_id, command, deadline)
        answer = await begun if isinstance(begun, asyncio.Future) else begun
        if isinstance(answer, DomainError):
            raise answer.with_traceback(None)
        return answer

    async def execute_all(
        self, sale_id: str, commands: Sequence[tuple[Command, float | None, SpanContext | None]]
    ) -> list[Answer]:
        """Execute independent commands, in order, each with its deadline and the span of its caller. Return an answer
        for each.
        """
        begun = []
        for command, deadline, span in commands:
            current_span.set(span)
            # A future and not a task for each, because there may be a thousand.
            begun.append(self._begin(sale_id, command, deadline))
        await asyncio.gather(*(answer for answer in begun if isinstance(answer, asyncio.Future)))
        return [answer.result() if isinstance(answer, asyncio.Future) else answer for answer in begun]

    async def transfer(self, command: Transfer, deadline: float | None) -> Transferred:
        """Move units between two sales, under both locks."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        give_up = deadline or began + self._limits.patience_seconds
        refusal: DomainError = DatabaseUnavailable() if deadline is None else DeadlineInQueue()
        doubts: list[datetime] = []
        while loop.time() < give_up:
            try:
                transferred, commits = await self._transfer(command, give_up, doubts)
            except TimeoutError:
                break
            except _Starved:
                await self._groups.enqueue(command.source_sale_id, Sweep(), give_up)
                continue
            except NotApplied as fault:
                log.warning("transfer not applied", error=str(fault))
                refusal = refusal if doubts else DatabaseUnavailable()
            except InDoubt as fault:
                log.warning("transfer in doubt", error=str(fault))
                refusal = OutcomeUnknown()
                give_up = deadline or began + self._limits.doubt_seconds
            except Rejected as fault:
                log.exception("transfer rejected")
                raise Internal from fault
            else:
                for change in commits:
                    self._sold_out.forget(change.sale_id)
                    self.on_committed(change)
                return transferred._replace(replayed=transferred.replayed and transferred.executed_at not in doubts)
            await asyncio.sleep(self._entropy.uniform(0.01, 0.05))
        raise refusal

    # Observing batches

    def on_read(
        self, began: float, sale: Sale, now: datetime, items: Sequence[Item], holds_end_at: Mapping[str, datetime]
    ) -> None:
        """Remember the state that a batch read."""
        self._sold_out.on_read(began, sale, now, items, holds_end_at)

    def on_committed(self, change: Committed) -> None:
        """Handle a commit that has moved stock."""
        try:
            self._on_commit(change)
        except Exception:
            # The commit stands, even if an observer fails.
            log.exception("an observer of commits failed", sale=change.sale_id)

    def on_batch(self, size: int, seconds: float) -> None:
        """Note the end of a batch."""
        self._metrics.on_batch(size, seconds)

    def on_waited(self, seconds: float) -> None:
        """Note the beginning of a command's batch."""
        self._metrics.on_waited(seconds)

    def changed_elsewhere(self, sale_id: str) -> None:
        """Forget the remembered state of a sale, because another replica changed its stock."""
        self._sold_out.forget(sale_id)

    def _salt_was_read(self, sale_id: str, reading: asyncio.Task[bytes]) -> None:
        del self._salt_reads[sale_id]
        if reading.cancelled() or reading.exception() is not None:
            return
        if len(self._salts) >= _MAX_SALTS:
            self._salts.clear()
        self._salts[sale_id] = reading.result()

    def _begin(self, sale_id: str, command: Command, deadline: float | None) -> Answer | asyncio.Future[Answer]:
        if isinstance(command, Create):
            refusal = self._sold_out.refusal(sale_id, command, asyncio.get_running_loop().time())
            if refusal is not None:
                return self._refuse(sale_id, command, deadline, refusal)
        try:
            return self._groups.enqueue(sale_id, command, deadline)
        except DomainError as error:
            return error

    def _refuse(
        self, sale_id: str, command: Create, deadline: float | None, refusal: DomainError
    ) -> Answer | asyncio.Future[Answer]:
        if command.bound:
            return asyncio.ensure_future(self._refuse_unless_bound(sale_id, command, deadline, refusal))
        self._metrics.refused_from_memory()
        return refusal

    async def _refuse_unless_bound(
        self, sale_id: str, command: Create, deadline: float | None, refusal: DomainError
    ) -> Answer:
        try:
            if await self._in_time(self._bound_ids.is_bound(sale_id, command.reservation_id), deadline):
                return await self._groups.enqueue(sale_id, command, deadline)
        except DomainError as error:
            return error
        self._metrics.refused_from_memory()
        return refusal

    async def _in_time(self, work: Awaitable[T], deadline: float | None) -> T:
        """Return the result of `work`. Raises `DeadlineInQueue` or `DatabaseUnavailable` when the time is up."""
        patience_ends = asyncio.get_running_loop().time() + self._limits.patience_seconds
        try:
            async with asyncio.timeout_at(min(patience_ends, deadline or patience_ends)):
                return await work
        except TimeoutError:
            if deadline is not None and deadline < patience_ends:
                raise DeadlineInQueue from None
            raise DatabaseUnavailable from None

    async def _transfer(
        self, command: Transfer, give_up: float, doubts: list[datetime]
    ) -> tuple[Transferred, list[Committed]]:
        """Make one attempt. Add its time to `doubts` if its COMMIT is lost.

        Raises `TimeoutError` at `give_up` unless it has been decided: then wait for its commit.
        """
        opening = self._store.open_transfer(command, self._limits.due_holds)
        try:
            async with asyncio.timeout_at(give_up) as limit, opening as opened:
                source, destination = opened.source, opened.destination
                transferred, taken, given = _decided(source, destination, command)
                limit.reschedule(None)
                await opened.commit(taken, given)
        except InDoubt as fault:
            if transferred.replayed:
                raise NotApplied("a replay has no effect, regardless of its commit") from fault
            doubts.append(transferred.executed_at)
            raise
        parts = ((source.sale, taken), (destination.sale, given))
        return transferred, [
            Committed(sale.sale_id, sale.sequence, decision.sequence, decision.items)
            for sale, decision in parts
            if not decision.is_empty
        ]


def _decided(source: State, destination: State, command: Transfer) -> tuple[Transferred, Decision, Decision]:
    try:
        return decide_transfer(source, destination, command)
    except InsufficientStock as refusal:
        if source.more_due:
            raise _Starved from refusal
        raise
