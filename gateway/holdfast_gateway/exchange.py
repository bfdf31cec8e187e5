"""One HTTP request and its answer, as the gateway sees them."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast_chassis.rates.callers import client_address
from holdfast_gateway.problems import HEADERS_TOO_LARGE, refuse, refuse_field

Headers = list[tuple[str, str]]

SECONDS_PATTERN = r"[1-9][0-9]{0,5}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9][0-9]{0,8}"
"""A positive number of seconds."""

_SECONDS = re.compile(SECONDS_PATTERN)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+;=%-]+)(:\d{0,5})?", re.ASCII)


class RequestHeaders:
    """The headers of a request, with names in lower case.

    Repeated headers are joined with commas (RFC 9110, 5.3); the rules of headers with a single value then refuse them.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        values = dict(pairs)
        if len(values) != len(pairs):
            values = {name: b", ".join(value for each, value in pairs if each == name) for name in values}
        self._values = values

    def get(self, name: str) -> str | None:
        """Return the value of a header, or None."""
        value = self._values.get(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def size_bytes(self) -> int:
        """The length of all names and values."""
        return sum(map(len, self._values)) + sum(map(len, self._values.values()))


@dataclass(frozen=True, slots=True)
class Scope:
    """A request without its body. `path` is as it was sent, still encoded."""

    method: str
    path: str
    query_string: str
    http_version: str
    headers: RequestHeaders
    peer: str = ""
    """The address at the other end of the connection: a client's, or a proxy's."""


class Transport(Protocol):
    """The functions that read a request's body and send its answer."""

    def body(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces. Raises ClientGoneError if it ends too soon."""
        ...

    async def client_gone(self) -> None:
        """Wait until the client has disconnected. Call it only after the body has been read."""
        ...

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a complete answer."""
        ...

    async def begin(self, status: int, headers: Headers) -> None:
        """Begin an answer that is sent in pieces."""
        ...

    async def push(self, piece: bytes) -> None:
        """Send a piece of the answer. It is dropped if the client has disconnected."""
        ...

    async def end(self) -> None:
        """End it."""
        ...


class ClientGoneError(Exception):
    """The client has closed its connection or aborted its request, so no answer is possible."""


def require_host(scope: Scope) -> None:
    """Raise ProblemError unless the request has one Host header, which only HTTP/1.0 may omit (RFC 9112, 3.2)."""
    given = scope.headers.get("host")
    if not given and scope.http_version == "1":
        return
    if given is None or not _HOST.fullmatch(given):
        refuse_field("Host", "must appear once, and be a host with or without a port")


def require_small_headers(headers: RequestHeaders, limit_bytes: int) -> None:
    """Raise ProblemError if the headers are larger than that."""
    if headers.size_bytes > limit_bytes:
        refuse(HEADERS_TOO_LARGE, f"The headers must be at most {limit_bytes} bytes.")


def address_of(scope: Scope, trusted_hops: int) -> str:
    """Return the client's address (see `client_address`)."""
    return client_address(scope.headers.get("x-forwarded-for") or "", scope.peer, trusted_hops)


def timeout_of(headers: RequestHeaders, default_seconds: float, max_seconds: float) -> float:
    """Return the seconds that the caller waits. Raises ProblemError if the header is invalid."""
    given = headers.get("x-request-timeout")
    if given is None:
        return default_seconds
    if not _SECONDS.fullmatch(given):
        refuse_field("X-Request-Timeout", "must be a positive number of seconds, such as 2.5")
    return min(float(given), max_seconds)
