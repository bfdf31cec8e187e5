"""The processing around every call, composed once per method: record, access, admission, deadline, errors.

gRPC's interceptors could do the same, but cost too much in a stampede. This module is independent of the transport,
which serves the endpoints. See ADR 19.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from holdfast_chassis.call_log import CallLog
from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.contract import Kind, method_of
from holdfast_chassis.drain import Arrivals, InFlight
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.tracing import Tracer, context_in, current_span
from holdfast_inventory.api.access import Access
from holdfast_inventory.api.admission import Admission
from holdfast_inventory.api.call import Call
from holdfast_inventory.api.deadlines import Deadlines
from holdfast_inventory.api.failures import INTERNAL, cancellation, refusal_for
from holdfast_inventory.api.malformed import fault_in
from holdfast_inventory.api.rates import Rates
from holdfast_inventory.api.record import CallMetrics, Record, Traffic, Unrecorded
from holdfast_inventory.api.workloads import Workloads
from holdfast_inventory.domain.errors import DeadlineInQueue, InvalidRequest, OutcomeUnknown, ReaderTooSlow
from holdfast_inventory.ports import Ending, Endpoint, Exchange

if TYPE_CHECKING:
    from holdfast_inventory.api.refusals import Refusal

_Answer = Callable[[Any, Exchange, Call], Awaitable[bytes]]
_Parse = Callable[[Any, Call], Any]


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of calls; times in seconds."""

    in_flight: int = 2_000
    """The most concurrent calls, without watches. Beyond it reads are refused first, then creates, then confirms."""
    default_seconds: float = 10.0
    """How long a call without a deadline may take."""
    max_seconds: float = 60.0
    """The longest deadline of a caller that is respected."""
    write_seconds: float = 30.0
    """How long the reader of a watch may take to accept one event."""
    log_per_second: int = 50
    """The most calls per second that are logged although they neither failed nor were slow."""
    log_slow_seconds: float = 1.0
    """Calls that take this long are logged."""


class Calls:
    """A factory of endpoints that tracks the calls in progress and the latest arrival."""

    def __init__(
        self,
        limits: CallLimits,
        metrics: CallMetrics,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
        authenticator: Authenticator | None = None,
        trusted_workloads: Collection[str] | None = None,
        tracer: Tracer | None = None,
        rates: Rates | None = None,
    ) -> None:
        """Without an `authenticator` every caller may do everything. `trusted_workloads`: see `Workloads`.
        Without a `tracer` calls are not traced, and without `rates` callers are not counted.
        """
        self.arrivals = Arrivals(clock)
        self.in_flight = InFlight()
        self.admission = Admission(limits.in_flight, entropy)
        self._deadlines = Deadlines(limits.default_seconds, limits.max_seconds)
        self._write_seconds = limits.write_seconds
        self._call_log = CallLog(limits.log_per_second, limits.log_slow_seconds)
        self._metrics = metrics
        self._clock = clock
        self._tracer = tracer
        self._authenticator = authenticator
        self._rates = rates
        self._workloads = Workloads(trusted_workloads, metrics.spoofed)

    def endpoints(self, service: ServiceDescriptor, servicer: object) -> list[Endpoint]:
        """Return the endpoints of a service. `servicer` has a method in snake_case for each method of the service."""
        return [self._endpoint(method, _handler(servicer, method)) for method in service.methods]

    def probes(self, service: ServiceDescriptor, servicer: object) -> list[Endpoint]:
        """Return the endpoints of a service for probes: its calls are not recorded, and all are admitted."""
        return [self._probe(method, _handler(servicer, method)) for method in service.methods]

    def _endpoint(self, method: MethodDescriptor, handle: Callable[[Any, Call], Any]) -> Endpoint:
        counted = self._metrics.method(method)
        kind = method_of(method).kind
        record = Traffic(method, counted, self.arrivals, self.in_flight, self._call_log, self._clock, self._tracer)
        access = None if self._authenticator is None else Access(self._authenticator, method)
        if self._rates is not None:
            handle = self._rates.counting(method, handle)
        answer = self._answer(method, handle, kind, access)
        if self._rates is not None:
            answer = self._rates.addressed(answer)
        if access is not None:
            answer = _permitted(access, answer, carries_credentials=method_of(method).carries_credentials)
        return self._served(method, answer, record, changes_nothing=kind.changes_nothing)

    def _probe(self, method: MethodDescriptor, handle: Callable[[Any, Call], Any]) -> Endpoint:
        return self._served(method, self._answer(method, handle, None, None), Unrecorded(), changes_nothing=True)

    def _answer(
        self, method: MethodDescriptor, handle: Callable[[Any, Call], Any], kind: Kind | None, access: Access | None
    ) -> _Answer:
        """With `kind` None every call is admitted; with `access` None every caller is authorized."""
        parse = _parser(method) if access is None else _claimer(method, access)
        if method.server_streaming:
            return self._streaming(method, handle, parse)
        answer = self._unary(parse, handle, changes_nothing=kind is None or kind.changes_nothing)
        return answer if kind is None else self._admitted(kind, answer)

    def _served(self, method: MethodDescriptor, answer: _Answer, record: Record, *, changes_nothing: bool) -> Endpoint:
        name, new_call, require_trusted = method.full_name, self._deadlines.call, self._workloads.require_trusted
        begin_span = None if self._tracer is None or isinstance(record, Unrecorded) else self._tracer.begin

        async def serve(request: Any, exchange: Exchange) -> Ending:  # noqa: ANN401 - bytes, or an iterator over them
            began_at = record.began()
            call = new_call(exchange.remaining_seconds())
            refusal: Refusal | None = None
            message = b""
            try:
                call.read_metadata(exchange.metadata)
                if begin_span is not None:
                    call.span = begin_span(context_in(call.traceparent))
                    current_span.set(call.span)
                if call.speaks_for_others:
                    require_trusted(exchange)
                message = await answer(request, exchange, call)
            except asyncio.CancelledError:
                if refusal := cancellation(exchange.remaining_seconds()):
                    raise
                refusal = INTERNAL
            except Exception as error:  # noqa: BLE001 - every caller gets an answer
                refusal = refusal_for(error, name, call, changes_nothing=changes_nothing)
            finally:
                record.ended(exchange, call, refusal, began_at)
            if refusal is None:
                return Ending(message, call.trailers())
            return Ending(b"", (*refusal.trailers, *call.trailers()), refusal.code, refusal.message)

        path = f"/{method.containing_service.full_name}/{method.name}"
        return Endpoint(path, method.client_streaming, method.server_streaming, serve)

    def _admitted(self, kind: Kind, answer: _Answer) -> _Answer:
        enter, leave = self.admission.enter, self.admission.leave

        async def admitted(raw: bytes, exchange: Exchange, call: Call) -> bytes:
            enter(kind)
            try:
                return await answer(raw, exchange, call)
            finally:
                leave()

        return admitted

    def _unary(
        self, parse: _Parse, handle: Callable[[Any, Call], Awaitable[Message]], *, changes_nothing: bool
    ) -> _Answer:
        limit, late = self._deadlines.limit, DeadlineInQueue if changes_nothing else OutcomeUnknown

        async def answer(raw: bytes, _: Exchange, call: Call) -> bytes:
            with limit(call, late):
                return (await handle(parse(raw, call), call)).SerializeToString()

        return answer

    def _streaming(
        self, method: MethodDescriptor, handle: Callable[[Any, Call], AsyncGenerator[Message]], parse: _Parse
    ) -> _Answer:
        parse = _stream_parser(parse) if method.client_streaming else parse
        write_seconds = self._write_seconds

        async def answer(request: Any, exchange: Exchange, call: Call) -> bytes:  # noqa: ANN401 - as above
            async with aclosing(handle(parse(request, call), call)) as events:
                async for event in events:
                    try:
                        async with asyncio.timeout(write_seconds):
                            await exchange.write(event.SerializeToString())
                    except TimeoutError:
                        raise ReaderTooSlow from None
            return b""

        return answer


def snake_case(name: str) -> str:
    """Return the Python name of a service's method."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _handler(servicer: object, method: MethodDescriptor) -> Callable[[Any, Call], Any]:
    handle: Callable[[Any, Call], Any] = getattr(servicer, snake_case(method.name))
    return handle


def _parser(method: MethodDescriptor) -> _Parse:
    # Bytes in and bytes out, so that errors of parsing and serialising become normal refusals.
    request_class = GetMessageClass(method.input_type)
    decode = request_class.FromString

    def parse(raw: bytes, _: Call) -> Message:
        try:
            return decode(raw)
        except DecodeError:
            raise InvalidRequest((fault_in(raw, method.input_type),)) from None

    return parse


def _claimer(method: MethodDescriptor, access: Access) -> _Parse:
    parse = _parser(method)

    def claimed(raw: bytes, call: Call) -> Message:
        request: Message = parse(raw, call)
        access.claim(call.principal, request)
        return request

    return claimed


def _stream_parser(parse: _Parse) -> _Parse:
    async def parsed(requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[Message]:
        async for raw in requests:
            yield parse(raw, call)

    return parsed


def _permitted(access: Access, answer: _Answer, *, carries_credentials: bool) -> _Answer:
    async def permitted(request: Any, exchange: Exchange, call: Call) -> bytes:  # noqa: ANN401 - as above
        if call.authorization is not None or not carries_credentials:
            call.principal = await access.admit(call.authorization)
        return await answer(request, exchange, call)

    return permitted
