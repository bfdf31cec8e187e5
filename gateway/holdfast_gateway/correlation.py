"""The ids that identify one request in logs and services."""

import re

from holdfast_chassis.entropy import Entropy
from holdfast_chassis.tracing import SpanContext, context_in
from holdfast_gateway.exchange import RequestHeaders

_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_MAX_TRACEPARENT_CHARACTERS = 128


def request_id_of(headers: RequestHeaders, entropy: Entropy) -> str:
    """Return the caller's X-Request-Id, or a new one if it is missing or unfit for a log."""
    given = headers.get("x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else entropy.token_hex()


def traceparent_of(headers: RequestHeaders, entropy: Entropy) -> str:
    """Return the caller's W3C trace context, or a new one, not sampled, if it is missing or invalid."""
    given = headers.get("traceparent")
    if given is not None and caller_of(given) is not None:
        return given
    return f"00-{entropy.token_hex()}-{entropy.token_hex()[:16]}-00"


def caller_of(traceparent: str | None) -> SpanContext | None:
    """Return the caller's span from its W3C trace context; None if it is missing or invalid."""
    return context_in(traceparent) if traceparent and len(traceparent) <= _MAX_TRACEPARENT_CHARACTERS else None


def trace_id_of(traceparent: str) -> str:
    """Return the trace id of a trace context."""
    return traceparent[3:35]
