"""One request on its way through the gateway, and the reply that it gets."""

from dataclasses import dataclass

from holdfast_gateway.exchange import Headers, RequestHeaders, Scope, Transport


@dataclass(slots=True)
class Call:
    """What is known of a request. `template` is the path as it is counted and logged."""

    scope: Scope
    transport: Transport
    headers: RequestHeaders
    request_id: str
    traceparent: str
    began_at: float
    template: str = "(unknown)"
    reason: str = ""

    @property
    def authorization(self) -> str | None:
        """What the caller proves itself by; the inventory wants to see it as well."""
        return self.headers.get("authorization")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; the headers that every answer has are added to it."""

    status: int
    headers: Headers
    body: bytes = b""
