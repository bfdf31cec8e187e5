"""The spans of batches: one trace shows how long a call waited, and for which batch and statements.

A batch is a trace of its own, because it serves many calls. Each call has a span of its wait and one of its time in the
batch, which is linked to the batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

from holdfast_chassis.tracing import Span, SpanContext, Statement, Tracer
from holdfast_inventory.domain.decide import Answer
from holdfast_inventory.domain.errors import DatabaseUnavailable, DeadlineInQueue, Internal, OutcomeUnknown

_FAILURES = (DatabaseUnavailable, DeadlineInQueue, Internal, OutcomeUnknown)


class Served(NamedTuple):
    """A command of a batch: the span of its call, when it began to wait, and its answer."""

    call: SpanContext
    since: float
    answer: Answer


class BatchSpans:
    """Records the spans of batches. Times are loop time, in seconds."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def record(
        self,
        sale_id: str,
        began: float,
        ended: float,
        size: int,
        served: Sequence[Served],
        statements: Sequence[Statement],
    ) -> None:
        """Record a batch of `size` commands if one of those `served` is recorded."""
        wanted = [one for one in served if self._wants(one, ended)]
        if not wanted:
            return
        batch = self._tracer.begin(None)
        attributes: dict[str, str | int] = {"holdfast.sale": sale_id, "holdfast.batch.commands": size}
        links = [one.call for one in wanted]
        self._tracer.record(Span("batch", batch, began, ended, attributes=attributes, links=links))
        for statement in statements:
            self._record_statement(batch, statement)
        for one in wanted:
            self._record_command(one, batch, began, ended)

    def _wants(self, one: Served, ended: float) -> bool:
        return self._tracer.wants(one.call, ended - one.since, failed=isinstance(one.answer, _FAILURES))

    def _record_statement(self, batch: SpanContext, statement: Statement) -> None:
        attributes = {"db.system.name": "postgresql", "db.operation.name": statement.name}
        began = statement.ended - statement.seconds
        context = self._tracer.child(batch)
        self._tracer.record(Span(f"statement {statement.name}", context, began, statement.ended, attributes=attributes))

    def _record_command(self, one: Served, batch: SpanContext, began: float, ended: float) -> None:
        failure = str(one.answer) if isinstance(one.answer, _FAILURES) else ""
        self._tracer.record(Span("wait for a batch", self._tracer.child(one.call), one.since, began))
        context = self._tracer.child(one.call)
        self._tracer.record(Span("in a batch", context, began, ended, links=[batch], failure=failure))
