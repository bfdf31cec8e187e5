"""One HTTP request and its answer, as far as the gateway needs to know them."""

import re
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

from holdfast_gateway.problems import NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE, refuse, refuse_field

Headers = list[tuple[str, str]]

_SECONDS = re.compile(r"\d{1,6}(\.\d{1,9})?", re.ASCII)


class RequestHeaders(Protocol):
    """The headers of a request; names in lower case."""

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the first header of that name; `default` also for one that is not ASCII."""
        ...

    def __contains__(self, key: str) -> bool:
        """Return whether there is such a header, whatever its value."""
        ...


class Scope(Protocol):
    """What the HTTP server tells of a request before its body is read."""

    method: str
    path: str
    query_string: str
    http_version: str

    @property
    def headers(self) -> RequestHeaders:
        """Return the headers."""
        ...


class StreamTransport(Protocol):
    """An answer that is sent piece by piece."""

    def send_bytes(self, data: bytes) -> Awaitable[None]:
        """Send a piece; raises when the client has gone."""
        ...


class Transport(Protocol):
    """How a request's body is read and its answer is sent."""

    def __call__(self) -> Awaitable[bytes]:
        """Read the whole body."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the body piece by piece."""
        ...

    def client_disconnect(self) -> Awaitable[None]:
        """Wait until the client has gone."""
        ...

    def response_bytes(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer."""
        ...

    def response_stream(self, status: int, headers: Headers) -> StreamTransport:
        """Begin an answer that is sent piece by piece."""
        ...


class ClientGoneError(Exception):
    """The client has closed its connection, or cut its own request off: there is nobody to answer."""


def require_json(headers: RequestHeaders) -> None:
    """Raise ProblemError unless the body, by its Content-Type, is JSON. None given: it is taken to be."""
    given = headers.get("content-type")
    if given is None or given == "application/json":
        return
    media_type, *parameters = (part.strip().lower() for part in given.split(";"))
    if media_type == "application/json" and all(p in ("", "charset=utf-8", 'charset="utf-8"') for p in parameters):
        return
    refuse(UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json, in UTF-8.")


def require_acceptable(headers: RequestHeaders, media_type: str) -> None:
    """Raise ProblemError when the Accept header excludes `media_type`."""
    accept = headers.get("accept")
    if accept is None or "*/*" in accept or media_type in accept:
        return
    major = media_type.partition("/")[0]
    if f"{major}/*" not in accept:
        refuse(NOT_ACCEPTABLE, f"This answers in {media_type}.")


def timeout_of(headers: RequestHeaders, default_seconds: float, max_seconds: float) -> float:
    """Return how many seconds the caller is ready to wait. Raises ProblemError for what is not a number of them."""
    given = headers.get("x-request-timeout")
    if given is None:
        return default_seconds
    if not _SECONDS.fullmatch(given) or float(given) <= 0:
        refuse_field("X-Request-Timeout", "must be a positive number of seconds, such as 2.5")
    return min(float(given), max_seconds)
