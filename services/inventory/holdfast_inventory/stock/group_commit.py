"""Group commit: while a batch of a sale is in flight, its new commands wait, and then form the next batch.

Without load a command is a batch of its own; batches grow with the load. If the CPU is the limit, `stock.gathering`
makes them larger. One batch per sale is in flight at a time, so a sale is a serial log and deadlocks are impossible. If
more commands wait than fit into a batch, `stock.admission` orders them; if too many wait, the last one is refused.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Protocol

from holdfast_chassis.clock import thread_cpu_seconds
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.fair_queue import FairQueue, fair_share
from holdfast_chassis.logs import get_logger
from holdfast_chassis.recent import RecentSet
from holdfast_chassis.tracing import SpanContext, Statement, current_span, statements
from holdfast_inventory.domain.commands import Command, Create, Sweep
from holdfast_inventory.domain.decide import Adjusted, Answer, Decision, Done, State, decide
from holdfast_inventory.domain.errors import (
    DatabaseUnavailable,
    DeadlineInQueue,
    DomainError,
    Draining,
    Internal,
    OutcomeUnknown,
    Overloaded,
)
from holdfast_inventory.domain.item import Item
from holdfast_inventory.domain.sale import Sale
from holdfast_inventory.ports import Committed, InDoubt, NotApplied, SaleStore, Stale
from holdfast_inventory.stock.admission import REMEMBERED_GRANTS, BatchTimer, Rank, flow_of, rank_of
from holdfast_inventory.stock.batch_spans import BatchSpans, Served
from holdfast_inventory.stock.contention import Contention
from holdfast_inventory.stock.gathering import Gathering

if TYPE_CHECKING:
    from uuid import UUID

log = get_logger("holdfast.group_commit")


class Observer(Protocol):
    """An observer of batches. It is called on the event loop and must not block or raise."""

    def on_read(
        self, began: float, sale: Sale, now: datetime, items: Sequence[Item], holds_end_at: Mapping[str, datetime]
    ) -> None:
        """Note a state that was read after `began` (loop time), at the time `now` of the database's clock.

        `holds_end_at` is that of `State`.
        """

    def on_committed(self, change: Committed) -> None:
        """Note a commit that changed stock."""

    def on_batch(self, size: int, seconds: float) -> None:
        """Note that a batch of `size` commands took `seconds`."""

    def on_waited(self, seconds: float) -> None:
        """Note the seconds that a command waited for its batch."""


@dataclass(frozen=True, slots=True)
class GroupCommitLimits:
    """The limits of the queue. Times in seconds."""

    batch_commands: int = 256
    """The most commands in a batch."""
    due_holds: int = 256
    """The most due holds that a batch reads at once."""
    queue_seconds: float = 1.0
    """A command is refused if its expected wait is longer than this."""
    queue_commands: int = 20_000
    """The most commands that may wait; one sale may use as many as it leaves free."""
    patience_seconds: float = 2.0
    """How long a command waits for an unreachable database before it is refused as not applied."""
    doubt_seconds: float = 10.0
    """How long a command without a deadline waits for the outcome of a lost COMMIT."""
    gather_seconds: float = 0.01
    """The longest time that a batch waits for more commands if the CPU is the limit."""


_MAX_CONTENTIONS = 10_000
_ON_ITS_WAY = timedelta(seconds=5)
"""Longer than the store's maximum from reading to committing."""
_LOOK_SECONDS = 0.25
"""The interval at which the deadlines of waiting commands are checked."""


@dataclass(slots=True)
class _Waiting:
    command: Command
    future: asyncio.Future[Answer]
    deadline: float | None
    since: float
    span: SpanContext | None
    """The span of its call, if calls are traced."""
    decided: bool = False
    """Its changes may be on the way to the database: until the outcome is known, it cannot be refused or dropped."""
    doubts: tuple[Done | Adjusted, ...] = ()
    """The answers of lost COMMITs that had an effect to make: any of them may have been applied."""


@dataclass(slots=True)
class _Lane:
    sale_id: str
    timer: BatchTimer
    gathering: Gathering
    contention: Contention
    queue: FairQueue[_Waiting] = field(default_factory=lambda: FairQueue(len(Rank)))
    batch: list[_Waiting] = field(default_factory=list)
    """The commands that left the queue: in flight, or waiting for a connection, the lock, a retry or the other half."""
    trouble: DomainError | None = None
    """The error of the batch's last attempt."""
    worker: asyncio.Task[None] | None = None
    look: asyncio.TimerHandle | None = None


class GroupCommit:
    """A queue of commands per sale, which commits them in batches."""

    def __init__(
        self,
        store: SaleStore,
        limits: GroupCommitLimits,
        observer: Observer,
        *,
        entropy: Entropy = SYSTEM_ENTROPY,
        cpu_seconds: Callable[[], float] = thread_cpu_seconds,
        spans: BatchSpans | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._observer = observer
        self._entropy = entropy
        self._cpu_seconds = cpu_seconds
        self._spans = spans
        self._lanes: dict[str, _Lane] = {}
        self._contentions: dict[str, Contention] = {}
        """The contention of sales without a lane: replicas compete for a sale even while none of its commands waits."""
        self._grants: RecentSet[UUID] = RecentSet(REMEMBERED_GRANTS)
        self._stopping = False
        self.waiting = 0
        """The number of commands that wait for a batch, over all sales."""

    def enqueue(self, sale_id: str, command: Command, deadline: float | None) -> asyncio.Future[Answer]:
        """Return a future of the answer to `command`. `deadline` is loop time.

        Raises `Draining`; other refusals are answers. A caller may cancel the future: the command is then dropped if
        its batch has not begun, and otherwise executed without effect on others.
        """
        if self._stopping:
            raise Draining
        loop = asyncio.get_running_loop()
        now = loop.time()
        lane = self._lanes.get(sale_id)
        if lane is None:
            contention = self._contentions.pop(sale_id, None) or Contention()
            timer, gathering = BatchTimer(self._limits.batch_commands, now), Gathering(self._limits.gather_seconds)
            lane = self._lanes[sale_id] = _Lane(sale_id, timer, gathering, contention)
        waiting = _Waiting(command, loop.create_future(), deadline, now, current_span.get())
        self._admit(lane, waiting, now)
        if lane.worker is None:
            lane.worker = loop.create_task(self._work(lane), name=f"group-commit {sale_id}")
        return waiting.future

    async def stop(self, timeout_seconds: float) -> None:
        """Accept no more commands, and wait for the queued ones and those in flight."""
        self._stopping = True
        workers = [lane.worker for lane in self._lanes.values() if lane.worker is not None]
        if workers:
            _, late = await asyncio.wait(workers, timeout=timeout_seconds)
            if late:
                log.error("batches did not end in time", sales=len(late))

    def _admit(self, lane: _Lane, waiting: _Waiting, now: float) -> None:
        """Queue a command. Refuse it if it could not begin in time, or evict the lowest-ranked waiter if the queue is
        full.
        """
        rank, flow = rank_of(waiting.command, self._grants), flow_of(waiting.command)
        if waiting.deadline is not None:
            # Without a queue the wait is short, even if the last batch was slow.
            wait_seconds = lane.timer.wait_seconds(lane.queue.ahead_of(rank, flow), now) if lane.queue else 0.0
            if now + wait_seconds >= waiting.deadline:
                _answer(waiting, self._overloaded(wait_seconds) if waiting.deadline > now else DeadlineInQueue())
                return
        lane.queue.push(waiting, rank, flow)
        self.waiting += 1
        if len(lane.queue) > self._room(lane, now):
            self.waiting -= 1
            _answer(lane.queue.pop_last(), self._overloaded(lane.timer.wait_seconds(len(lane.queue), now)))

    def _room(self, lane: _Lane, now: float) -> int:
        share = fair_share(self._limits.queue_commands, self.waiting - len(lane.queue))
        return min(share, lane.timer.room(self._limits.queue_seconds, now))

    def _overloaded(self, seconds: float) -> Overloaded:
        return Overloaded(self._entropy.uniform(0.5, 1.5) * max(seconds, 0.1))

    async def _work(self, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        lane.look = loop.call_later(_LOOK_SECONDS, self._look_after, lane)
        made: list[Statement] = []
        if self._spans is not None:
            statements.set(made)
        try:
            while self._next_batch(lane):
                await self._settle(lane, lane.batch)
                if self._spans is not None:
                    _record(self._spans, lane, loop.time(), made)
                lane.timer.batch_ended(loop.time())
                self._observer.on_batch(len(lane.batch), lane.timer.last_seconds)
                await self._gather(lane)
        finally:
            # There was no await since the queue was empty, so no command was queued meanwhile.
            lane.look.cancel()
            del self._lanes[lane.sale_id]
            self._remember(lane)
            for waiting in (*lane.batch, *self._taken(lane)):
                _answer(waiting, Internal())

    async def _gather(self, lane: _Lane) -> None:
        """Wait for more commands, unless they already fill a batch."""
        now = asyncio.get_running_loop().time()
        lane.gathering.batch_ended(len(lane.batch), now, self._cpu_seconds())
        lane.batch = []
        if lane.gathering.seconds and len(lane.queue) < self._limits.batch_commands and not self._stopping:
            await asyncio.sleep(lane.gathering.seconds)
            lane.timer.begins(asyncio.get_running_loop().time())

    def _remember(self, lane: _Lane) -> None:
        if lane.contention.is_over:
            return
        if len(self._contentions) >= _MAX_CONTENTIONS:
            self._contentions.clear()
        self._contentions[lane.sale_id] = lane.contention

    def _next_batch(self, lane: _Lane) -> list[_Waiting]:
        lane.batch = []
        for waiting in self._taken(lane):
            if not self._can_wait(lane, waiting, lane.timer.began, lane.timer.likely_seconds):
                continue
            self._observer.on_waited(lane.timer.began - waiting.since)
            lane.batch.append(waiting)
            if len(lane.batch) == self._limits.batch_commands:
                break
        return lane.batch

    def _taken(self, lane: _Lane) -> Iterator[_Waiting]:
        while lane.queue:
            self.waiting -= 1
            yield lane.queue.pop_first()

    def _look_after(self, lane: _Lane) -> None:
        """Refuse the commands that cannot wait any longer, in the queue or in a batch: a batch may hang."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._still_waiting(lane, lane.batch)
        for waiting in lane.queue:
            self._can_wait(lane, waiting, now, lane.timer.likely_seconds)
        lane.look = loop.call_later(_LOOK_SECONDS, self._look_after, lane)

    def _can_wait(self, lane: _Lane, waiting: _Waiting, now: float, needed_seconds: float = 0.0) -> bool:
        """Refuse a command that cannot wait any longer. Return whether it still waits for its answer.

        Its batch is expected to take `needed_seconds` from `now`.
        """
        # Its caller went away and cancelled it.
        if waiting.future.done():
            return False
        refusal = None if waiting.decided else self._too_late(lane, waiting, now, needed_seconds)
        if refusal is not None:
            waiting.future.set_result(refusal)
        return refusal is None

    def _too_late(self, lane: _Lane, waiting: _Waiting, now: float, needed_seconds: float) -> DomainError | None:
        if waiting.doubts:
            latest = waiting.deadline or waiting.since + self._limits.doubt_seconds
            return OutcomeUnknown() if latest <= now else None
        if waiting.deadline is not None and waiting.deadline <= now + needed_seconds:
            return lane.trouble or DeadlineInQueue()
        if now - waiting.since < self._limits.patience_seconds:
            return None
        if lane.trouble is not None:
            return lane.trouble
        # It was overtaken all the time, or its batch waits for a database that has stopped.
        has_stopped = max(lane.timer.last_seconds, now - lane.timer.began) >= self._limits.queue_seconds
        return DatabaseUnavailable() if has_stopped else self._overloaded(self._limits.queue_seconds)

    async def _settle(self, lane: _Lane, batch: list[_Waiting]) -> None:
        """Run the batch until each of its commands has an answer."""
        for attempt in count():
            batch = self._still_waiting(lane, batch)
            if not batch:
                return
            lane.trouble = await self._run(lane, batch)
            if lane.trouble is None:
                return
            pause = 0.0 if isinstance(lane.trouble, Overloaded) else min(0.01 * 2 ** min(attempt, 6), 0.5)
            await asyncio.sleep(self._entropy.uniform(0.5, 1.0) * pause)

    def _still_waiting(self, lane: _Lane, batch: list[_Waiting]) -> list[_Waiting]:
        now = asyncio.get_running_loop().time()
        return [waiting for waiting in batch if self._can_wait(lane, waiting, now)]

    async def _run(self, lane: _Lane, batch: list[_Waiting]) -> DomainError | None:
        """Run the batch once. Return None if it is answered, else the refusal for commands that cannot wait for a
        retry.
        """
        sale_id = lane.sale_id
        try:
            answered = await self._commit(sale_id, batch, exclusive=lane.contention.is_high)
        except Stale:
            lane.contention.missed()
            return self._overloaded(self._limits.patience_seconds)
        except NotApplied as fault:
            log.warning("batch not applied", sale=sale_id, size=len(batch), error=str(fault))
            return DatabaseUnavailable()
        except InDoubt as fault:
            log.warning("batch in doubt", sale=sale_id, size=len(batch), error=str(fault))
            return DatabaseUnavailable()
        except Exception as error:  # noqa: BLE001 -- it is answered, or logged
            await self._isolate(lane, batch, error)
            return None
        lane.contention.committed()
        if answered is None:
            return self._overloaded(self._limits.patience_seconds)
        for waiting, answer in answered:
            command = waiting.command
            if isinstance(answer, Done) and isinstance(command, Create) and command.bound:
                self._grants.add(command.reservation_id)
            _answer(waiting, _as_first(answer, waiting.doubts))
        return None

    async def _isolate(self, lane: _Lane, batch: list[_Waiting], error: Exception) -> None:
        """Split the batch into halves until the command that cannot be applied fails alone."""
        if isinstance(error, DomainError):
            for waiting in batch:
                _answer(waiting, error)
        elif len(batch) == 1:
            log.error("command rejected", sale=lane.sale_id, command=type(batch[0].command).__name__, exc_info=error)
            _answer(batch[0], Internal())
        else:
            log.warning("batch rejected", sale=lane.sale_id, size=len(batch), error=str(error))
            half = len(batch) // 2
            await self._settle(lane, batch[:half])
            await self._settle(lane, batch[half:])

    async def _commit(
        self, sale_id: str, batch: Sequence[_Waiting], *, exclusive: bool
    ) -> list[tuple[_Waiting, Answer]] | None:
        """Execute one batch. Return the answers of its commands that still wait.

        Return None if it only ended due holds: then decide the commands again. Raises the errors of the store, and
        `NotFound` for the sale.
        """
        began = asyncio.get_running_loop().time()
        commands = [waiting.command for waiting in batch]
        decided: list[_Waiting] | None = None
        try:
            async with self._store.open(sale_id, commands, self._limits.due_holds, exclusive=exclusive) as opened:
                state = opened.state
                decided, decision = _decide(state, batch)
                if _must_commit(state, decision, batch):
                    await opened.commit(decision)
        except InDoubt:
            if decided is not None:
                _doubt(decided, decision.answers)
            raise
        finally:
            for waiting in decided or ():
                waiting.decided = False
        self._tell(began, state, decision)
        return None if decided is None else list(zip(decided, decision.answers, strict=True))

    def _tell(self, began: float, state: State, decision: Decision) -> None:
        sale = state.sale
        # If more holds are due than were read, more units are available than the state shows.
        if not state.more_due:
            self._observer.on_read(began, sale, state.now, _levels(state, decision), decision.holds_end_at)
        if decision.items:
            self._observer.on_committed(Committed(sale.sale_id, sale.sequence, decision.sequence, decision.items))


def _decide(state: State, batch: Sequence[_Waiting]) -> tuple[list[_Waiting] | None, Decision]:
    """Decide the commands that still wait, which can no longer be refused or dropped; or end due holds first."""
    waiting = [each for each in batch if not each.future.done()]
    decision = decide(state, [each.command for each in waiting])
    if decision.starved:
        # A refusal because of a due hold would be wrong: end these holds first, then read again. They are ended in
        # separate transactions, so that any number of them can be ended.
        return None, decide(state, [Sweep()])
    for each in waiting:
        each.decided = True
    return waiting, decision


def _must_commit(state: State, decision: Decision, batch: Sequence[_Waiting]) -> bool:
    """Return whether the answers must wait for a commit, even an empty one.

    Positive answers must be durable. This includes replays, whose first commit may not be durable yet. A commit
    that is still on its way could be applied after a refusal: one whose answer was lost or, if the sale has just
    closed, that of another process for an earlier attempt. After another commit they cannot be applied.
    """
    return (
        not decision.is_empty
        or not all(map(_is_refusal, decision.answers))
        or any(waiting.doubts for waiting in batch)
        or _has_just_closed(state)
    )


def _has_just_closed(state: State) -> bool:
    closed_at = state.sale.close_at
    return closed_at is not None and closed_at <= state.now < closed_at + _ON_ITS_WAY


def _is_refusal(answer: Answer) -> bool:
    return isinstance(answer, DomainError)


def _levels(state: State, decision: Decision) -> list[Item]:
    levels = dict(state.items)
    levels.update((item.item_id, item) for item in decision.items)
    return list(levels.values())


def _doubt(batch: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    """Remember the effects that a lost COMMIT may have had; refusals and replays have none."""
    for waiting, answer in zip(batch, answers, strict=True):
        if isinstance(answer, Done | Adjusted) and not answer.replayed:
            waiting.doubts += (answer,)


def _as_first(answer: Answer, doubts: Sequence[Done | Adjusted]) -> Answer:
    """Return the answer after lost COMMITs. It is not a replay if one of them was the first execution."""
    if not doubts:
        return answer
    if isinstance(answer, Done | Adjusted) and any(doubt.executed_at == answer.executed_at for doubt in doubts):
        return answer._replace(replayed=False)
    return answer


def _record(spans: BatchSpans, lane: _Lane, now: float, made: list[Statement]) -> None:
    answered = [
        Served(each.span, each.since, each.future.result())
        for each in lane.batch
        if each.span is not None and each.future.done() and not each.future.cancelled()
    ]
    spans.record(lane.sale_id, lane.timer.began, now, len(lane.batch), answered, made)
    made.clear()


def _answer(waiting: _Waiting, answer: Answer) -> None:
    # Its caller went away and cancelled the future.
    if not waiting.future.done():
        waiting.future.set_result(answer)
