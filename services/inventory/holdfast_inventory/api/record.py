"""The record of calls: arrivals, counts, durations, and a log line for calls that `CallLog` selects."""

from typing import Protocol

from google.protobuf.descriptor import MethodDescriptor
from google.rpc.code_pb2 import Code

from holdfast_chassis.call_log import CallLog
from holdfast_chassis.clock import Clock
from holdfast_chassis.drain import Arrivals, InFlight
from holdfast_chassis.logs import get_logger
from holdfast_chassis.tracing import Span, SpanContext, SpanKind, Tracer
from holdfast_inventory.api.call import Call
from holdfast_inventory.api.refusals import Refusal
from holdfast_inventory.ports import Exchange

log = get_logger("holdfast.calls")

_FAILURES = frozenset({Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS})
"""The codes of failures. All other codes are normal answers."""


class MethodMetrics(Protocol):
    """The counts of one method."""

    def started(self) -> None:
        """Count the start of a call."""

    def handled(self, code: str, reason: str, seconds: float) -> None:
        """Count the end of a call after `seconds`, with its gRPC code and the reason of its refusal (or `OK`)."""

    def traced(self, seconds: float, trace_id: str) -> None:
        """Remember the trace of a call that took `seconds`."""


class CallMetrics(Protocol):
    """The counts of all methods."""

    def method(self, method: MethodDescriptor) -> MethodMetrics:
        """Return the counts of one method."""

    def spoofed(self) -> None:
        """Count a call that spoke for other callers, and may not."""


class Record(Protocol):
    """An observer of a method's calls."""

    def began(self) -> float:
        """Record the start of a call. Return its time, for `ended`."""

    def ended(self, exchange: Exchange, call: Call, refusal: Refusal | None, began_at: float) -> None:
        """Record the end of a call."""


class Traffic:
    """The record of a method of the API."""

    def __init__(
        self,
        method: MethodDescriptor,
        counted: MethodMetrics,
        arrivals: Arrivals,
        in_flight: InFlight,
        call_log: CallLog,
        clock: Clock,
        tracer: Tracer | None,
    ) -> None:
        self._tracer = tracer
        self._name = method.full_name
        self._counted = counted
        self._arrivals = arrivals
        self._in_flight = in_flight
        self._call_log = call_log
        self._monotonic = clock.monotonic
        self._write = log.bind().info  # Bound once, because the look-up in the lazy logger costs a fifth of a log line.

    def began(self) -> float:
        """Count the call as an arrival and as in progress."""
        self._in_flight.enter()
        self._counted.started()
        return self._arrivals.record()

    def ended(self, exchange: Exchange, call: Call, refusal: Refusal | None, began_at: float) -> None:
        """Count the end of the call, and log it if `CallLog` selects it."""
        self._in_flight.leave()
        now = self._monotonic()
        seconds = now - began_at
        code, reason = ("OK", "OK") if refusal is None else (refusal.code_name, refusal.reason)
        self._counted.handled(code, reason, seconds)
        failed = refusal is not None and refusal.code in _FAILURES
        if self._call_log.wants(now, seconds, failed=failed):
            self._tell(exchange, call, code, reason, seconds)
        if call.span is not None and self._tracer is not None and self._tracer.wants(call.span, seconds, failed=failed):
            self._counted.traced(seconds, call.span.trace_id)
            self._tracer.record(self._span(call.span, reason, began_at, now, code if failed else ""))

    def _span(self, context: SpanContext, reason: str, began: float, ended: float, failure: str) -> Span:
        service, _, method = self._name.rpartition(".")
        attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "holdfast.reason": reason}
        return Span(f"{service}/{method}", context, began, ended, SpanKind.SERVER, attributes, failure=failure)

    def _tell(self, exchange: Exchange, call: Call, code: str, reason: str, seconds: float) -> None:
        self._write(
            "call",
            method=self._name,
            code=code,
            reason=reason,
            duration_ms=round(seconds * 1000, 3),
            request_id=call.request_id,
            trace_id=call.trace_id,
            replayed=call.replayed,
            caller=call.principal.name,
            peer=exchange.peer,
            left_out=self._call_log.left_out(),
        )


class Unrecorded:
    """The record of probes, which is empty: they come all the time and continue until the end of a drain."""

    def began(self) -> float:
        """Keep nothing."""
        return 0.0

    def ended(self, exchange: Exchange, call: Call, refusal: Refusal | None, began_at: float) -> None:
        """Keep nothing."""
