"""Combines concurrent calls of one sale into one Submit.

A gRPC call costs far more than a command in it. There is no timer: while fewer than two Submits of a sale are in
progress, waiting calls are sent at once; calls that arrive meanwhile go with the next Submit. If more calls wait than
fit into a Submit, those that end a purchase go first and customers take turns; if too many wait, the last is refused.
"""

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.alarms import Alarms
from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.contract import METHODS, Kind
from holdfast_chassis.fair_queue import FairQueue, fair_share
from holdfast_chassis.recent import RecentSet
from holdfast_chassis.tracing import SpanContext
from holdfast_gateway.metrics import SubmitMetrics
from holdfast_gateway.problems import (
    DEADLINE_IN_QUEUE,
    INTERNAL,
    OUTCOME_UNKNOWN,
    OVERLOADED,
    Problem,
    ProblemError,
    problem_of_status,
)
from holdfast_gateway.routes import DynamicMessage, Route
from holdfast_gateway.submit_spans import Carried, SubmitSpans

_FIELD_OF_REQUEST = {
    carried.message_type.full_name: carried.name
    for carried in pb.Command.DESCRIPTOR.oneofs_by_name["command"].fields
    if carried.message_type is not None
}
# The inventory answers at the deadline; its answer needs some time to arrive.
_ANSWER_MARGIN_SECONDS = 0.25

# The order in the queue. The inventory's own queue has different ranks for confirm, release and extend.
_FINISH, _REPLAY, _CREATE = range(3)
_FINISHING = {
    _FIELD_OF_REQUEST[method.request]
    for method in METHODS
    if method.kind is Kind.FINISH and method.request in _FIELD_OF_REQUEST
}
_REMEMBERED_GRANTS = 10_000


def command_field(route: Route) -> str | None:
    """Return the field of a Command for this route's requests; None: they are not combined."""
    return _FIELD_OF_REQUEST.get(route.rpc.input_type.full_name)


class Inventory(Protocol):
    """The receiver of Submits."""

    async def submit(
        self, request: pb.SubmitRequest, timeout_seconds: float, traceparent: str | None = None
    ) -> pb.SubmitResponse:
        """Send a Submit, as a part of a trace. Raises ProblemError."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of Submits and of the queue."""

    commands: int
    size_bytes: int
    concurrency: int
    waiting: int


@dataclass(slots=True, eq=False)
class _Waiter:
    command: pb.Command
    identity: int | None
    size_bytes: int
    deadline: float
    due_at: float
    outcome: "asyncio.Future[pb.Outcome]"
    span: SpanContext | None
    since: float
    sent: bool = False

    def ring(self) -> None:
        """Refuse the call, because no outcome has come in time."""
        _expire(self)


@dataclass(slots=True, eq=False)
class _Sale:
    name: str
    waiting: FairQueue[_Waiter] = field(default_factory=lambda: FairQueue(_CREATE + 1))
    under_way: int = 0
    flush_due: bool = False


class Coalescer:
    """A queue per sale that sends commands in Submits and returns each caller its own outcome."""

    def __init__(
        self,
        inventory: Inventory,
        limits: Limits,
        metrics: SubmitMetrics,
        alarms: Alarms,
        clock: Clock = SYSTEM_CLOCK,
        spans: SubmitSpans | None = None,
    ) -> None:
        self._inventory = inventory
        self._limits = limits
        self._metrics = metrics
        self._alarms = alarms
        self._clock = clock
        self._spans = spans
        self._grants: RecentSet[int | None] = RecentSet(_REMEMBERED_GRANTS)
        self._sales: dict[str, _Sale] = {}
        self._waiting = 0
        self._submits: set[asyncio.Task[None]] = set()

    async def send(
        self,
        sale: str,
        kind: str,
        request: Message,
        timeout_seconds: float,
        traceparent: str,
        request_id: str,
        authorization: str | None = None,
        span: SpanContext | None = None,
    ) -> tuple[pb.Reservation, bool]:
        """Return the reservation, and whether it is a replay. Raises ProblemError.

        `authorization` is sent with the command, which is authorized by it alone. If this is cancelled, the command is
        withdrawn unless it has been sent.
        """
        command = pb.Command(traceparent=traceparent, correlation_id=request_id, authorization=authorization or "")
        getattr(command, kind).CopyFrom(request)
        waiter = self._enqueue(sale, kind, command, timeout_seconds, span)
        self._alarms.set(waiter)
        try:
            return _result(await waiter.outcome)
        finally:
            self._alarms.clear(waiter)

    def _enqueue(
        self, name: str, kind: str, command: pb.Command, timeout_seconds: float, span: SpanContext | None
    ) -> _Waiter:
        loop = asyncio.get_running_loop()
        now = self._clock.monotonic()
        due_at = loop.time() + timeout_seconds + _ANSWER_MARGIN_SECONDS
        waiter = _Waiter(
            command,
            _identity(name, command),
            command.ByteSize(),
            now + timeout_seconds,
            due_at,
            loop.create_future(),
            span,
            now,
        )
        sale = self._sales.get(name)
        if sale is None:
            sale = self._sales[name] = _Sale(name)
        sale.waiting.push(waiter, self._rank(kind, waiter), _flow(getattr(command, kind)))
        self._waiting += 1
        if len(sale.waiting) > fair_share(self._limits.waiting, self._waiting - len(sale.waiting)):
            self._waiting -= 1
            _refuse(sale.waiting.pop_last())
        if not sale.flush_due and sale.under_way < self._limits.concurrency:
            # Not at once, so that other calls of this turn of the event loop can share the Submit.
            sale.flush_due = True
            loop.call_soon(self._flush, sale)
        return waiter

    def _rank(self, kind: str, waiter: _Waiter) -> int:
        if kind in _FINISHING:
            return _FINISH
        return _REPLAY if waiter.identity in self._grants else _CREATE

    def _flush(self, sale: _Sale) -> None:
        sale.flush_due = False
        if sale.under_way < self._limits.concurrency:
            batch = self._take(sale)
            if batch:
                sale.under_way += 1
                task = asyncio.get_running_loop().create_task(self._submit(sale, batch))
                self._submits.add(task)
                task.add_done_callback(self._submits.discard)
        if not sale.waiting and not sale.under_way:
            self._sales.pop(sale.name, None)

    def _take(self, sale: _Sale) -> list[_Waiter]:
        """Return as many commands as fit, and drop those whose callers have gone or whose deadline has passed."""
        batch: list[_Waiter] = []
        size_bytes = 0
        now = self._clock.monotonic()
        while sale.waiting and len(batch) < self._limits.commands:
            waiter = sale.waiting.first()
            if batch and size_bytes + waiter.size_bytes > self._limits.size_bytes:
                break
            sale.waiting.pop_first()
            self._waiting -= 1
            if waiter.outcome.done():
                self._metrics.dropped.inc()
            elif waiter.deadline <= now:
                self._metrics.dropped.inc()
                _expire(waiter)
            else:
                waiter.command.timeout.FromNanoseconds(int((waiter.deadline - now) * 1e9))
                waiter.sent = True
                size_bytes += waiter.size_bytes
                batch.append(waiter)
        self._metrics.waiting.set(self._waiting)
        return batch

    async def _submit(self, sale: _Sale, batch: Sequence[_Waiter]) -> None:
        self._metrics.batch_commands.observe(len(batch))
        self._metrics.under_way.inc()
        try:
            latest = max(waiter.deadline for waiter in batch) - self._clock.monotonic()
            request = pb.SubmitRequest(parent=sale.name, commands=[waiter.command for waiter in batch])
            with self._traced(sale.name, batch) as traceparent:
                response = await self._inventory.submit(request, latest + _ANSWER_MARGIN_SECONDS, traceparent)
            self._hand_out(batch, response.outcomes)
        except Exception as error:  # noqa: BLE001 - every caller must get an answer, whatever this was
            _fail(batch, error)
        finally:
            self._metrics.under_way.dec()
            sale.under_way -= 1
            self._flush(sale)

    @contextmanager
    def _traced(self, sale: str, batch: Sequence[_Waiter]) -> Iterator[str | None]:
        """Record a span of the Submit, if requests are traced. Yield its trace context."""
        if self._spans is None:
            yield None
            return
        carried = [Carried(waiter.span, waiter.since) for waiter in batch if waiter.span is not None]
        began, context, failure = self._clock.monotonic(), self._spans.begin(carried), ""
        try:
            yield context.traceparent
        except ProblemError as error:
            failure = error.problem.reason.name
            raise
        finally:
            self._spans.record(context, sale, carried, began, self._clock.monotonic(), failure)

    def _hand_out(self, batch: Sequence[_Waiter], outcomes: Sequence[pb.Outcome]) -> None:
        if len(outcomes) != len(batch):
            raise ProblemError(Problem(INTERNAL, "The inventory did not answer every command."))
        for waiter, outcome in zip(batch, outcomes, strict=True):
            if outcome.HasField("reservation") and waiter.identity is not None:
                self._grants.add(waiter.identity)
            if not waiter.outcome.done():
                waiter.outcome.set_result(outcome)


def _identity(sale: str, command: pb.Command) -> int | None:
    """Return a key that a create shares with its repetitions; None: it has no request id."""
    create = command.create
    # A short hash, because many are remembered; a collision would only give a wrong rank.
    return hash((sale, create.customer, create.request_id)) if create.request_id else None


def _flow(request: DynamicMessage) -> Hashable:
    """Return the flow of a command: its customer, or if it names none its reservation."""
    flow: str = request.customer or getattr(request, "name", "")
    return flow


def _fail(batch: Sequence[_Waiter], error: Exception) -> None:
    for waiter in batch:
        if not waiter.outcome.done():
            # A new exception for each caller, because an exception that is raised twice collects tracebacks.
            own = ProblemError(error.problem) if isinstance(error, ProblemError) else error
            waiter.outcome.set_exception(own)


def _refuse(waiter: _Waiter) -> None:
    if not waiter.outcome.done():
        problem = Problem(OVERLOADED, "Too many calls are waiting for the inventory.")
        waiter.outcome.set_exception(ProblemError(problem))


def _expire(waiter: _Waiter) -> None:
    if waiter.outcome.done():
        return
    if waiter.sent:
        problem = Problem(OUTCOME_UNKNOWN, "No answer came in time. Repeat the request with the same Idempotency-Key.")
    else:
        problem = Problem(DEADLINE_IN_QUEUE, "The request waited too long and was dropped.")
    waiter.outcome.set_exception(ProblemError(problem))


def _result(outcome: pb.Outcome) -> tuple[pb.Reservation, bool]:
    if outcome.HasField("error"):
        raise ProblemError(problem_of_status(outcome.error, changes_nothing=False))
    return outcome.reservation, outcome.replayed
