"""Turns traces on or off, as the environment says (`otel_variables`)."""

import os
from typing import TYPE_CHECKING

from holdfast_chassis.clock import Clock
from holdfast_chassis.entropy import Entropy
from holdfast_chassis.lifecycle import Step
from holdfast_chassis.otel_variables import sends_traces

if TYPE_CHECKING:
    from holdfast_chassis.otlp import OtlpTracer

_START_SECONDS = 1.0
_STOP_SECONDS = 15.0
"""More than the exporter's own limit of 10 s."""


def new_tracer(service: str, version: str, slow_seconds: float, clock: Clock, entropy: Entropy) -> "OtlpTracer | None":
    """Return the tracer that the environment describes; None: traces are off.

    `service` is its name unless OTEL_SERVICE_NAME gives another. The settings have checked the environment.
    """
    if not sends_traces(os.environ):
        return None
    from holdfast_chassis.otlp import OtlpTracer  # noqa: PLC0415 - only if traces are on

    return OtlpTracer(service, version, slow_seconds, clock, entropy)


def tracing_step(tracer: "OtlpTracer | None") -> list[Step]:
    """Return the step that sends the last spans when all else has stopped."""
    return [] if tracer is None else [Step("traces", tracer.start, tracer.stop, _START_SECONDS, _STOP_SECONDS)]
