"""A client of Holdfast over REST: connections that are kept alive, and the most frequent requests."""

from typing import Any, NamedTuple, Self

import aiohttp

CALL_SECONDS = 30.0
_EVENT_BYTES = 1 << 22
NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError, ValueError)
"""What is raised if there is no answer, or none that can be read."""


class Answer(NamedTuple):
    """An answer. `body` is its parsed JSON."""

    status: int
    body: Any
    headers: Any

    @property
    def reason(self) -> str:
        """The reason of a refusal; empty if it was not refused, or if there is no reason."""
        return str(self.body.get("reason", "")) if isinstance(self.body, dict) else ""


class RestClient:
    """A client of one gateway or edge. Open and close it in the same event loop."""

    def __init__(self, url: str, seconds: float = CALL_SECONDS, connector: aiohttp.BaseConnector | None = None) -> None:
        """`seconds` is the timeout of a request. By default there are as many connections as requests."""
        self.url = url
        self._seconds = seconds
        self.session = aiohttp.ClientSession(connector=connector or aiohttp.TCPConnector(limit=0))

    async def close(self) -> None:
        await self.session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, method: str, path: str, seconds: float | None = None, **options: Any) -> Answer:
        """Send one request, with options of aiohttp's, and return its answer. Raises one of NO_ANSWER."""
        timeout = aiohttp.ClientTimeout(total=seconds or self._seconds)
        async with self.session.request(method, self.url + path, timeout=timeout, **options) as response:
            return Answer(response.status, await response.json(content_type=None), response.headers)

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.send("GET", path, **options)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.send("POST", path, json=body or {}, headers=headers)

    async def reserve(self, sale: str, customer: str, request_id: str | None = None, **quantities: int) -> Answer:
        """Hold a number of units of each item."""
        lines = [{"item": item, "quantity": quantity} for item, quantity in quantities.items()]
        headers = {} if request_id is None else {"Idempotency-Key": request_id}
        return await self.post(f"/v1/{sale}/reservations", {"customer": customer, "lines": lines}, **headers)

    def stream(self, path: str, **headers: str) -> Any:
        """Return an open answer for server-sent events; it may be silent for the timeout of a request."""
        timeout = aiohttp.ClientTimeout(sock_connect=self._seconds, sock_read=self._seconds)
        return self.session.get(self.url + path, headers=headers, timeout=timeout, read_bufsize=_EVENT_BYTES)
