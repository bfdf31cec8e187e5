"""A call, as its handler sees it."""

import re
from typing import TYPE_CHECKING

from holdfast_chassis.identity.principal import ANONYMOUS
from holdfast_chassis.rates.callers import COUNTED
from holdfast_inventory.domain.change import Cause
from holdfast_inventory.domain.errors import HeadersTooLarge
from holdfast_inventory.ports import Metadata

if TYPE_CHECKING:
    from holdfast_chassis.tracing import SpanContext

_REQUEST_ID_KEY = "x-request-id"
_TRACE_PARENT_KEY = "traceparent"
_AUTHORIZATION_KEY = "authorization"
# gRPC's own header for repetitions of a call, which applications cannot send.
_OWN_ATTEMPTS_KEY = "grpc-previous-rpc-attempts"
# Metadata between our own workloads: the sale chooses a replica, and means nothing to it; the others are the gateway's
# headers for other repetitions of a call, and for one that it has counted.
_OURS = "holdfast-"
_SALE_KEY = "holdfast-sale"
_ATTEMPTS_KEY = "holdfast-previous-attempts"
_COUNTED_KEY, _ = COUNTED
MAX_METADATA_BYTES = 12 * 1024
"""The limit of metadata, as at the edge. Each field counts 32 more bytes than its text (RFC 9113, 6.5.2)."""
_FIELD_BYTES = 32
_TRACE_ID = slice(3, 35)
_REPLAYED = ("idempotent-replayed", "true")
_is_request_id = re.compile(r"[!-~]{1,128}").fullmatch
_is_trace_parent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").match


class Call:
    """One call of a method.

    `deadline` is loop time, in seconds; `has_own_deadline`: the caller chose it. `request_id` is the caller's
    X-Request-Id, `traceparent` its trace context, and `span` that of this call if calls are traced. `was_sent_before`:
    this is a repetition, and the outcome of the earlier attempt is not known here. `speaks_for_others`: it has metadata
    that only a trusted workload may send. `rate_counted`: a gateway has counted it, with all its commands.
    `client_address` is known where rates are counted. `authorization` is the caller's credential and `principal` the
    caller, ANONYMOUS without authentication. A handler sets `replayed` if the request had been executed before.
    """

    __slots__ = (
        "authorization",
        "client_address",
        "deadline",
        "has_own_deadline",
        "principal",
        "rate_counted",
        "replayed",
        "request_id",
        "span",
        "speaks_for_others",
        "traceparent",
        "was_sent_before",
    )

    def __init__(self, deadline: float, *, has_own_deadline: bool) -> None:
        self.deadline = deadline
        self.has_own_deadline = has_own_deadline
        self.replayed = False
        self.request_id: str | None = None
        self.traceparent: str | None = None
        self.span: SpanContext | None = None
        self.was_sent_before = False
        self.speaks_for_others = False
        self.rate_counted = False
        self.client_address = ""
        self.authorization: str | None = None
        self.principal = ANONYMOUS

    def read_metadata(self, metadata: Metadata) -> None:
        """Set the fields from the call's metadata, ignoring invalid values. Raises HeadersTooLarge."""
        size_bytes = 0
        for key, value in metadata:
            size_bytes += len(key) + len(value) + _FIELD_BYTES
            if key == _REQUEST_ID_KEY:
                self.request_id = request_id_in(value)
            elif key == _TRACE_PARENT_KEY:
                self.traceparent = traceparent_in(value)
            elif key == _AUTHORIZATION_KEY:
                # A repeated header is not a valid credential.
                self.authorization = str(value) if self.authorization is None else f"{self.authorization}, {value!s}"
            elif key == _OWN_ATTEMPTS_KEY:
                self.was_sent_before = True
            elif key.startswith(_OURS) and key != _SALE_KEY:
                self.speaks_for_others = True
                self.was_sent_before |= key == _ATTEMPTS_KEY
                self.rate_counted |= key == _COUNTED_KEY
        if size_bytes > MAX_METADATA_BYTES:
            raise HeadersTooLarge

    @property
    def trace_id(self) -> str | None:
        """The id of the caller's trace."""
        return None if self.traceparent is None else self.traceparent[_TRACE_ID]

    @property
    def cause(self) -> Cause:
        """Return what is recorded of the caller with a change."""
        return Cause(self.principal.name, self.request_id or "")

    def trailers(self) -> tuple[tuple[str, str], ...]:
        """Return the trailers of every answer, including refusals."""
        echo = () if self.request_id is None else ((_REQUEST_ID_KEY, self.request_id),)
        return (*echo, _REPLAYED) if self.replayed else echo


def request_id_in(value: str | bytes) -> str | None:
    """Return an X-Request-Id if it is valid."""
    return value if isinstance(value, str) and _is_request_id(value) else None


def trace_id_in(value: str | bytes) -> str | None:
    """Return the trace id of a W3C traceparent if it is valid."""
    traceparent = traceparent_in(value)
    return None if traceparent is None else traceparent[_TRACE_ID]


def traceparent_in(value: str | bytes) -> str | None:
    """Return a W3C traceparent if it is valid."""
    return value if isinstance(value, str) and _is_trace_parent(value) else None
