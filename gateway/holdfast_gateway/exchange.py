"""One HTTP request and its answer, as far as the gateway needs to know them."""

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast_gateway.problems import refuse_field

Headers = list[tuple[str, str]]

SECONDS_PATTERN = r"[1-9][0-9]{0,5}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9][0-9]{0,8}"
"""More than no seconds."""

_SECONDS = re.compile(SECONDS_PATTERN)
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+;=%-]+)(:\d{0,5})?", re.ASCII)


class RequestHeaders:
    """The headers of a request; names in lower case.

    Several of one name are read as one with commas between them (RFC 9110, 5.3), which the rule of every header that
    is no list then refuses.
    """

    __slots__ = ("_values",)

    def __init__(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        values = dict(pairs)
        if len(values) != len(pairs):
            values = {name: b", ".join(value for each, value in pairs if each == name) for name in values}
        self._values = values

    def get(self, name: str) -> str | None:
        """Return the value of that header; None: there is none."""
        value = self._values.get(name.encode())
        return None if value is None else value.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known of a request before its body is read. `path` is as it was sent, still encoded."""

    method: str
    path: str
    query_string: str
    http_version: str
    headers: RequestHeaders


class Transport(Protocol):
    """How a request's body is read and its answer is sent."""

    def body(self) -> AsyncIterator[bytes]:
        """Read the body piece by piece. Raises ClientGoneError when it ends too soon."""
        ...

    async def client_gone(self) -> None:
        """Wait until the client has gone; not before the body has been read."""
        ...

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send the whole answer."""
        ...

    async def begin(self, status: int, headers: Headers) -> None:
        """Begin an answer that is sent piece by piece."""
        ...

    async def push(self, piece: bytes) -> None:
        """Send a piece of it; one for a client that has gone is dropped."""
        ...

    async def end(self) -> None:
        """End it."""
        ...


class ClientGoneError(Exception):
    """The client has closed its connection, or cut its own request off: there is nobody to answer."""


def require_host(scope: Scope) -> None:
    """Raise ProblemError unless the request names one host, which only HTTP/1.0 may leave out (RFC 9112, 3.2)."""
    given = scope.headers.get("host")
    if not given and scope.http_version == "1":
        return
    if given is None or not _HOST.fullmatch(given):
        refuse_field("Host", "must be there once, and be a host with or without a port")


def timeout_of(headers: RequestHeaders, default_seconds: float, max_seconds: float) -> float:
    """Return how many seconds the caller is ready to wait. Raises ProblemError for what is not a number of them."""
    given = headers.get("x-request-timeout")
    if given is None:
        return default_seconds
    if not _SECONDS.fullmatch(given):
        refuse_field("X-Request-Timeout", "must be a positive number of seconds, such as 2.5")
    return min(float(given), max_seconds)
