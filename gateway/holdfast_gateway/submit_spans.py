"""The spans of Submits. A Submit is a trace of its own, because it carries the commands of many requests.

Each request has a span of its wait for a Submit, and one of its time in it, which is linked to the Submit.
"""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast_chassis.tracing import Span, SpanContext, SpanKind, Tracer


class Carried(NamedTuple):
    """A command of a Submit: the span of its request, and when it began to wait."""

    request: SpanContext
    since: float


class SubmitSpans:
    """Records the spans of Submits. Times are monotonic seconds."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(self, carried: Sequence[Carried]) -> SpanContext:
        """Return the context of a Submit, which is sampled if a request in it is."""
        context = self._tracer.begin(None)
        return context._replace(is_sampled=any(one.request.is_sampled for one in carried))

    def record(
        self, submit: SpanContext, sale: str, carried: Sequence[Carried], began: float, ended: float, failure: str
    ) -> None:
        """Record a Submit if one of its requests is recorded. `failure` is empty unless all of it failed."""
        failed = bool(failure)
        wanted = [one for one in carried if self._tracer.wants(one.request, ended - one.since, failed=failed)]
        if not wanted:
            return
        attributes: dict[str, str | int] = {"holdfast.sale": sale, "holdfast.submit.commands": len(carried)}
        links = [one.request for one in wanted]
        self._tracer.record(Span("Submit", submit, began, ended, SpanKind.CLIENT, attributes, links, failure))
        for one in wanted:
            self._tracer.record(Span("wait for a Submit", self._tracer.child(one.request), one.since, began))
            self._tracer.record(Span("in a Submit", self._tracer.child(one.request), began, ended, links=[submit]))
