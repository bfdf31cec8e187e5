"""Sends spans to an OpenTelemetry collector. Only imported if one is configured: see `traces`."""

import asyncio
import os

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, Status, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace import SpanContext as Identity
from opentelemetry.trace import SpanKind as OtlpKind

from holdfast_chassis.clock import Clock
from holdfast_chassis.entropy import Entropy
from holdfast_chassis.otel_variables import protocol_of_traces
from holdfast_chassis.tracing import Span, SpanContext, SpanKind

_KINDS = {kind: OtlpKind[kind.name] for kind in SpanKind}


class OtlpTracer:
    """A `Tracer` that sends spans in a thread of its own, as the variables `OTEL_*` say."""

    def __init__(self, service: str, version: str, slow_seconds: float, clock: Clock, entropy: Entropy) -> None:
        own = Resource({SERVICE_NAME: service, SERVICE_VERSION: version})
        self._resource = own.merge(OTELResourceDetector().detect())
        # The provider is only asked for the sampler that OTEL_TRACES_SAMPLER describes.
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._processor = BatchSpanProcessor(_exporter())
        self._slow_seconds = slow_seconds
        self._clock = clock
        self._entropy = entropy

    def begin(self, parent: SpanContext | None) -> SpanContext:
        """Return the context of new work for a caller's span, or of a new trace. It may be sampled."""
        trace_id = self._entropy.token_hex() if parent is None else parent.trace_id
        within = None if parent is None else set_span_in_context(NonRecordingSpan(_identity(parent)))
        result = self._sampler.should_sample(within, int(trace_id, 16), "")
        is_sampled = result.decision is Decision.RECORD_AND_SAMPLE
        return SpanContext(trace_id, self._span_id(), "" if parent is None else parent.span_id, is_sampled)

    def child(self, of: SpanContext) -> SpanContext:
        """Return the context of a part of this work."""
        return SpanContext(of.trace_id, self._span_id(), of.span_id, of.is_sampled)

    def wants(self, context: SpanContext, seconds: float, *, failed: bool) -> bool:
        """Return whether to record a span that took `seconds`."""
        return context.is_sampled or failed or seconds >= self._slow_seconds

    def record(self, span: Span) -> None:
        """Send a span, sooner or later. If too many wait, it is dropped."""
        zero = self._clock.now().timestamp() - self._clock.monotonic()
        # The processor drops what is not sampled, and what was slow or failed is recorded all the same.
        context = span.context._replace(is_sampled=True)
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_identity(context),
                parent=_identity(context._replace(span_id=context.parent_id)) if context.parent_id else None,
                resource=self._resource,
                attributes=span.attributes,
                links=[Link(_identity(link)) for link in span.links],
                kind=_KINDS[span.kind],
                status=Status(StatusCode.ERROR, span.failure) if span.failure else Status(StatusCode.UNSET),
                start_time=round((zero + span.began) * 1e9),
                end_time=round((zero + span.ended) * 1e9),
            )
        )

    async def start(self) -> None:
        """Do nothing: the thread that sends runs already."""

    async def stop(self) -> None:
        """Send what waits, within the exporter's own time limits."""
        await asyncio.to_thread(self._processor.shutdown)

    def _span_id(self) -> str:
        return self._entropy.token_hex()[:16]


def _identity(context: SpanContext) -> Identity:
    flags = TraceFlags(TraceFlags.SAMPLED if context.is_sampled else TraceFlags.DEFAULT)
    return Identity(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


def _exporter() -> SpanExporter:
    # The two packages are imported as needed, because each loads a client of its own.
    if protocol_of_traces(os.environ) == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter  # noqa: PLC0415

        return GrpcExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter  # noqa: PLC0415

    return HttpExporter()
