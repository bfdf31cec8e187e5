"""Traces: what a span is, and which work becomes one. `otlp` decides and sends them.

A span is made when its work has ended, and only if its call is sampled, has failed or was slow. All other calls cost no
more than their ids. Times are monotonic seconds.
"""

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import NamedTuple, Protocol


class SpanContext(NamedTuple):
    """The identity of a span, in hexadecimal digits. `parent_id` is empty for the first span of a trace."""

    trace_id: str
    span_id: str
    parent_id: str
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """The W3C trace context for those that are called."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


class SpanKind(Enum):
    """Who waits for the work of a span."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span(NamedTuple):
    """Work that has ended. `failure` says why it failed, and is empty if it did not."""

    name: str
    context: SpanContext
    began: float
    ended: float
    kind: SpanKind = SpanKind.INTERNAL
    attributes: Mapping[str, str | int | float | bool] = {}
    links: Sequence[SpanContext] = ()
    failure: str = ""


class Tracer(Protocol):
    """A recorder of spans. Its methods do not block and raise nothing."""

    def begin(self, parent: SpanContext | None) -> SpanContext:
        """Return the context of new work for a caller's span, or of a new trace. It may be sampled."""
        ...

    def child(self, of: SpanContext) -> SpanContext:
        """Return the context of a part of this work."""
        ...

    def wants(self, context: SpanContext, seconds: float, *, failed: bool) -> bool:
        """Return whether to record a span that took `seconds`."""
        ...

    def record(self, span: Span) -> None:
        """Send a span, sooner or later. If too many wait, it is dropped."""
        ...


class Statement(NamedTuple):
    """A statement of a database that has ended."""

    name: str
    ended: float
    seconds: float


current_span: ContextVar[SpanContext | None] = ContextVar("current_span", default=None)
"""The span of the call that this task answers, if calls are traced."""
statements: ContextVar[list[Statement] | None] = ContextVar("statements", default=None)
"""The statements of this task, if it collects them."""

_match = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?").fullmatch


def context_in(traceparent: str | None) -> SpanContext | None:
    """Return the caller's span from a W3C traceparent; None if it is missing or invalid."""
    found = None if not traceparent else _match(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags, _ = found.groups()
    return SpanContext(trace_id, span_id, "", bool(int(flags, 16) & 1))
