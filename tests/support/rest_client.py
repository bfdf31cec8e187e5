"""A shopper that speaks REST to a gateway."""

from typing import NamedTuple

import aiohttp

CALL_SECONDS = 30


class Answer(NamedTuple):
    status: int
    body: object
    headers: object

    @property
    def reason(self):
        """Why it was refused."""
        return self.body.get("reason") if isinstance(self.body, dict) else None


class RestClient:
    """Opened in a test's event loop; close it there."""

    def __init__(self, url):
        self.url = url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS), connector=aiohttp.TCPConnector(limit=0)
        )

    async def close(self):
        await self._session.close()

    async def send(self, method, path, **options):
        async with self._session.request(method, self.url + path, **options) as response:
            return Answer(response.status, await response.json(content_type=None), response.headers)

    async def get(self, path, **options):
        return await self.send("GET", path, **options)

    async def post(self, path, body=None, **headers):
        return await self.send("POST", path, json=body or {}, headers=headers)

    async def reserve(self, sale, customer, request_id=None, **quantities):
        lines = [{"item": item, "quantity": quantity} for item, quantity in quantities.items()]
        headers = {} if request_id is None else {"Idempotency-Key": request_id}
        return await self.post(f"/v1/{sale}/reservations", {"customer": customer, "lines": lines}, **headers)

    def stream(self, path, **headers):
        """An open answer, to read server-sent events from."""
        return self._session.get(
            self.url + path, headers=headers, timeout=aiohttp.ClientTimeout(sock_read=CALL_SECONDS)
        )
