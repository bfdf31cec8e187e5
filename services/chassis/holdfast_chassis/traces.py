"""Turns traces on or off, by the standard variables `OTEL_*` (docs/tracing.md)."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from holdfast_chassis.clock import Clock
from holdfast_chassis.entropy import Entropy
from holdfast_chassis.lifecycle import CannotStartError, Step

if TYPE_CHECKING:
    from holdfast_chassis.otlp import OtlpTracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_START_SECONDS = 1.0
_STOP_SECONDS = 15.0
"""More than the exporter's own limit of 10 s."""


def is_configured(environment: Mapping[str, str]) -> bool:
    """Return whether there is a collector, and traces are not turned off."""
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not is_off and not is_elsewhere and any(environment.get(name) for name in _ENDPOINTS)


def new_tracer(service: str, version: str, slow_seconds: float, clock: Clock, entropy: Entropy) -> "OtlpTracer | None":
    """Return the tracer that the environment describes; None: traces are off.

    `service` is its name unless OTEL_SERVICE_NAME gives another. Raises CannotStartError if OpenTelemetry is not
    installed, or the protocol is unknown.
    """
    if not is_configured(os.environ):
        return None
    try:
        from holdfast_chassis.otlp import OtlpTracer  # noqa: PLC0415 - only if traces are on
    except ImportError as error:
        raise CannotStartError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: install holdfast[tracing]"
        ) from error
    return OtlpTracer(service, version, slow_seconds, clock, entropy)


def tracing_step(tracer: "OtlpTracer | None") -> list[Step]:
    """Return the step that sends the last spans when all else has stopped."""
    return [] if tracer is None else [Step("traces", tracer.start, tracer.stop, _START_SECONDS, _STOP_SECONDS)]
