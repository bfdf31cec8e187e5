"""What happens around every call: deadline, refusals as statuses, one line in the log, metrics, the drain's counts.

One wrapper for each method, put around it at registration. gRPC's interceptors would do the same for a price that a
stampede notices.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.concurrency import ConcurrencyLimit
from holdfast_chassis.contract import method_of
from holdfast_chassis.drain import Arrivals, InFlight
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.logs import get_logger
from holdfast_inventory.api.malformed import fault_in
from holdfast_inventory.api.refusals import Refusal, refusal_of
from holdfast_inventory.domain.errors import (
    DeadlineInQueue,
    DomainError,
    HeadersTooLarge,
    Internal,
    InvalidRequest,
    OutcomeUnknown,
    Overloaded,
    ReaderTooSlow,
)

log = get_logger("holdfast.calls")

Context = grpc.aio.ServicerContext[Any, Any]
_Answer = Callable[[bytes, Context, "Call"], Awaitable[bytes]]
_Record = Callable[[Context, "Call", Refusal | None, float], None]

_REQUEST_ID_KEY = "x-request-id"
_TRACE_PARENT_KEY = "traceparent"
# gRPC's own, which nobody else can send, and that of whoever sends a call again by other means.
_ATTEMPTS_KEYS = frozenset({"grpc-previous-rpc-attempts", "holdfast-previous-attempts"})
MAX_METADATA_BYTES = 12 * 1024
"""As at the edge; counted as HTTP/2 does (RFC 9113, 6.5.2), with so many bytes more for each field."""
_FIELD_BYTES = 32
_TRACE_ID = slice(3, 35)
_REPLAYED = ("idempotent-replayed", "true")
_is_request_id = re.compile(r"[!-~]{1,128}").fullmatch
_is_trace_parent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").match

STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
_INTERNAL = refusal_of(Internal())
# Never sent: the caller has gone, or its deadline has passed.
_GONE = Refusal(Code.CANCELLED, "CANCELLED", "CANCELLED", "", (), Status())
_EXPIRED = Refusal(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "", (), Status())

# An answer has to reach the caller before its deadline.
_MARGIN_SECONDS = 0.05
_MARGIN_SHARE = 0.1
_BACKSTOP_SECONDS = 1.0
"""Past the deadline, which the ledger keeps by itself, with a better answer than that the time is up."""
# At random between these, so that those who are refused together do not come back together.
_OVERLOAD_RETRY_SECONDS = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Bounds of calls; times in seconds."""

    in_flight: int = 2_000
    """Calls that are served at a time, watches apart; more are refused, reads before creates before confirms."""
    default_seconds: float = 10.0
    """How long a call without a deadline may take."""
    max_seconds: float = 60.0
    """The most that a caller's deadline counts for."""
    write_seconds: float = 30.0
    """How long the reader of a watch may take over one event."""


class MethodMetrics(Protocol):
    """What is counted of one method."""

    def started(self) -> None:
        """A call has begun."""

    def handled(self, code: str, reason: str, seconds: float) -> None:
        """A call has ended after `seconds`, with a gRPC code and why it was refused (`OK`: it was not)."""


class CallMetrics(Protocol):
    """What is counted of calls."""

    def method(self, method: MethodDescriptor) -> MethodMetrics:
        """Return the counts of one method."""


class Call:
    """What a handler may know and say about the call that it answers.

    `deadline` is loop time, in seconds; `has_own_deadline`: the caller chose it. `request_id` is the caller's
    X-Request-Id, `trace_id` that of its traceparent. `was_sent_before`: this is another attempt at it, and how the
    one before it ended is not known here. A handler sets `replayed` when it had been done before.
    """

    __slots__ = ("deadline", "has_own_deadline", "replayed", "request_id", "trace_id", "was_sent_before")

    def __init__(self, deadline: float, *, has_own_deadline: bool) -> None:
        self.deadline = deadline
        self.has_own_deadline = has_own_deadline
        self.replayed = False
        self.request_id: str | None = None
        self.trace_id: str | None = None
        self.was_sent_before = False

    def read_metadata(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Take over what the call's metadata says, where it makes sense. Raises HeadersTooLarge."""
        size_bytes = 0
        for key, value in metadata or ():
            size_bytes += len(key) + len(value) + _FIELD_BYTES
            if key == _REQUEST_ID_KEY:
                self.request_id = request_id_in(value)
            elif key == _TRACE_PARENT_KEY:
                self.trace_id = trace_id_in(value)
            elif key in _ATTEMPTS_KEYS:
                self.was_sent_before = True
        if size_bytes > MAX_METADATA_BYTES:
            raise HeadersTooLarge

    def honest(self, refusal: DomainError) -> DomainError:
        """Return what may be told: that this attempt did nothing proves nothing of the one before it."""
        return OutcomeUnknown() if self.was_sent_before and refusal.before_anything else refusal

    def trailers(self) -> tuple[tuple[str, str], ...]:
        """Return what is told behind every answer, refusals too."""
        echo = () if self.request_id is None else ((_REQUEST_ID_KEY, self.request_id),)
        return (*echo, _REPLAYED) if self.replayed else echo


class Calls:
    """Wraps methods, and knows how many calls are under way and when the latest arrived."""

    def __init__(
        self,
        limits: CallLimits,
        metrics: CallMetrics,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        self.arrivals = Arrivals(clock)
        self.in_flight = InFlight()
        self._concurrency = ConcurrencyLimit(limits.in_flight)
        self._entropy = entropy
        self._limits = limits
        self._metrics = metrics
        self._clock = clock

    def handlers(self, service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
        """Return the handlers of a service. `servicer` has a method in snake_case for each of the service's."""
        handlers = {
            method.name: self._handler(method, getattr(servicer, snake_case(method.name))) for method in service.methods
        }
        return grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _handler(
        self, method: MethodDescriptor, handle: Callable[[Any, Call], Any]
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        # Bytes in and bytes out: what goes wrong with either is then a refusal like any other.
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(self._wrapped(method, self._stream(method, handle)))
        return grpc.unary_unary_rpc_method_handler(self._wrapped(method, self._unary(method, handle)))

    def _wrapped(self, method: MethodDescriptor, answer: _Answer) -> Callable[[bytes, Context], Awaitable[bytes]]:
        counted = self._metrics.method(method)
        record = _recorder(method, counted)
        arrivals, in_flight, monotonic = self.arrivals, self.in_flight, self._clock.monotonic
        changes_nothing = method_of(method).kind.changes_nothing

        async def serve(raw: bytes, context: Context) -> bytes:
            began_at = monotonic()
            arrivals.record()
            in_flight.enter()
            counted.started()
            call = self._begin(context)
            refusal: Refusal | None = None
            try:
                call.read_metadata(context.invocation_metadata())
                return await answer(raw, context, call)
            except DomainError as error:
                refusal = refusal_of(error if changes_nothing else call.honest(error))
            except asyncio.CancelledError:
                # From elsewhere than our own cancellation it would leave the caller waiting until its deadline.
                refusal = _cancelled(context)
                if refusal is not _INTERNAL:
                    raise
            except Exception:
                log.exception("call_failed", method=method.full_name, request_id=call.request_id)
                refusal = _INTERNAL
            finally:
                in_flight.leave()
                record(context, call, refusal, monotonic() - began_at)
            trailers: Sequence[tuple[str, str | bytes]] = (*refusal.trailers, *call.trailers())
            return await context.abort(STATUS_CODES[refusal.code], refusal.message, trailers)

        return serve

    def _unary(self, method: MethodDescriptor, handle: Callable[[Any, Call], Awaitable[Message]]) -> _Answer:
        parse = _parser(method)
        concurrency, kind, uniform = self._concurrency, method_of(method).kind, self._entropy.uniform
        late = DeadlineInQueue if kind.changes_nothing else OutcomeUnknown

        async def in_time(request: Message, call: Call) -> Message:
            if call.has_own_deadline:
                # gRPC itself cancels us when that has passed.
                return await handle(request, call)
            try:
                async with asyncio.timeout_at(call.deadline + _BACKSTOP_SECONDS):
                    return await handle(request, call)
            except TimeoutError:
                raise late from None

        async def answer(raw: bytes, context: Context, call: Call) -> bytes:
            # Before anything else, so that a refusal costs next to nothing.
            if not concurrency.enter(kind):
                raise Overloaded(uniform(*_OVERLOAD_RETRY_SECONDS))
            try:
                response = await in_time(parse(raw), call)
            finally:
                concurrency.leave()
            if trailers := call.trailers():
                context.set_trailing_metadata(trailers)
            return response.SerializeToString()

        return answer

    def _stream(self, method: MethodDescriptor, handle: Callable[[Any, Call], AsyncGenerator[Message]]) -> _Answer:
        parse = _parser(method)
        write_seconds = self._limits.write_seconds

        async def answer(raw: bytes, context: Context, call: Call) -> bytes:
            async with aclosing(handle(parse(raw), call)) as events:
                async for event in events:
                    try:
                        async with asyncio.timeout(write_seconds):
                            await context.write(event.SerializeToString())
                    except TimeoutError:
                        raise ReaderTooSlow from None
            return b""

        return answer

    def _begin(self, context: Context) -> Call:
        remaining = context.time_remaining()
        limits = self._limits
        is_own = remaining is not None and remaining <= limits.max_seconds
        seconds = limits.default_seconds if remaining is None else min(remaining, limits.max_seconds)
        margin = min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
        return Call(asyncio.get_running_loop().time() + seconds - margin, has_own_deadline=is_own)


def request_id_in(value: str | bytes) -> str | None:
    """Return an X-Request-Id, if it is one."""
    return value if isinstance(value, str) and _is_request_id(value) else None


def trace_id_in(value: str | bytes) -> str | None:
    """Return the trace id of a W3C traceparent, if it is one."""
    return value[_TRACE_ID] if isinstance(value, str) and _is_trace_parent(value) else None


def snake_case(name: str) -> str:
    """Return the name that a method of a service has in Python."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _parser(method: MethodDescriptor) -> Callable[[bytes], Any]:
    request_class = GetMessageClass(method.input_type)
    decode = request_class.FromString

    def parse(raw: bytes) -> Message:
        try:
            return decode(raw)
        except DecodeError:
            raise InvalidRequest((fault_in(raw, method.input_type),)) from None

    return parse


def _cancelled(context: Context) -> Refusal:
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return _INTERNAL
    remaining = context.time_remaining()
    return _EXPIRED if remaining is not None and remaining <= 0 else _GONE


def _recorder(
    method: MethodDescriptor, counted: MethodMetrics
) -> Callable[[Context, Call, Refusal | None, float], None]:
    name = method.full_name
    write = log.bind().info  # Bound once: looking it up through the lazy logger costs a fifth of the line.

    def record(context: Context, call: Call, refusal: Refusal | None, seconds: float) -> None:
        code, reason = ("OK", "OK") if refusal is None else (refusal.code_name, refusal.reason)
        counted.handled(code, reason, seconds)
        write(
            "call",
            method=name,
            code=code,
            reason=reason,
            duration_ms=round(seconds * 1000, 3),
            request_id=call.request_id,
            trace_id=call.trace_id,
            replayed=call.replayed,
            peer=context.peer(),
        )

    return record
