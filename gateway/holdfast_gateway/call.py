"""One request in the gateway, and its reply."""

from dataclasses import dataclass, field

from holdfast_chassis.tracing import SpanContext
from holdfast_gateway.exchange import Headers, RequestHeaders, Scope, Transport


@dataclass(slots=True)
class Call:
    """The state of a request. `template` is the path for metrics and logs."""

    scope: Scope
    transport: Transport
    headers: RequestHeaders
    request_id: str
    traceparent: str
    span: SpanContext | None
    """Its own span, if requests are traced."""
    began_at: float
    template: str = "(unknown)"
    reason: str = ""
    media_type: str = ""
    """That of the answer, once it is known."""
    rate: Headers = field(default_factory=list)
    """What is left of the caller's rate, for the answer's headers."""

    @property
    def authorization(self) -> str | None:
        """The caller's credential, which is forwarded to the inventory."""
        return self.headers.get("authorization")


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer. The headers of every answer are added to it."""

    status: int
    headers: Headers
    body: bytes = b""
