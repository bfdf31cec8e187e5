"""Cross-origin requests, only for the configured origins."""

from collections.abc import Iterable

from holdfast_gateway.exchange import Headers

_REQUEST_HEADERS = (
    "Authorization, Content-Type, Holdfast-Admission, Idempotency-Key, Last-Event-ID, X-Request-Id, "
    "X-Request-Timeout, traceparent, tracestate"
)
_EXPOSED = (
    "Idempotent-Replayed, Link, Next-Page-Token, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    "X-Deployment-Version, X-Request-Id"
)
_REMEMBER_SECONDS = "600"


class Cors:
    """The allowed origins, and the headers for their browsers."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def headers(self, origin: str | None) -> Headers:
        """Return the headers for an answer to a request from `origin`."""
        if not self._origins:
            return []
        if origin not in self._origins or origin is None:
            return [("vary", "Origin")]
        return [
            ("vary", "Origin"),
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _EXPOSED),
        ]

    def preflight(self, origin: str | None, methods: Iterable[str]) -> Headers:
        """Return the additional headers of the answer to a preflight request."""
        if origin not in self._origins:
            return []
        return [
            ("access-control-allow-methods", ", ".join(methods)),
            ("access-control-allow-headers", _REQUEST_HEADERS),
            ("access-control-max-age", _REMEMBER_SECONDS),
        ]
