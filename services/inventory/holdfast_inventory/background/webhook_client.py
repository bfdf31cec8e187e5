"""Sends messages to webhooks over HTTP: bounded, and only to addresses that are allowed."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from holdfast_inventory.background.webhooks import Answer

Network = IPv4Network | IPv6Network

_RESOLVER_THREADS = 8
_MOST_FAILURE_CHARACTERS = 200
_MOST_RETRY_AFTER_DIGITS = 6


class ForbiddenAddressError(OSError):
    """The host of a webhook has an address to which messages are not sent."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """The longest time of an attempt, and the networks to which messages are sent although they are not public."""

    timeout_seconds: float = 10.0
    connections: int = 128
    allowed_networks: Sequence[Network] = ()


class WebhookClient:
    """A client that follows no redirect, keeps no cookie, uses no proxy and reads no body. Call `start` first.

    The address is checked when the connection is made, whatever the host's name was resolved to before.
    """

    def __init__(self, limits: ClientLimits) -> None:
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Prepare to send."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._limits.connections, resolver=_Resolver(), socket_factory=self._socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds),
            headers={"User-Agent": "Holdfast", "Content-Type": "application/json"},
            auto_decompress=False,
            trust_env=False,
        )

    async def stop(self) -> None:
        """Close all connections. May be called twice."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message, and wait for the status of its answer."""
        if self._session is None:
            raise RuntimeError("not started")
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            ) as response:
                return _answer(response.status, response.headers.get("Retry-After", ""))
        except TimeoutError:
            return Answer(f"no answer within {self._limits.timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(_described(error))

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, *_) = address
        if not may_receive(host, self._limits.allowed_networks):
            raise ForbiddenAddressError(f"messages are not sent to the address {host}")
        return socket.socket(family, kind, protocol)


def may_receive(host: str, allowed_networks: Sequence[Network]) -> bool:
    """Return whether messages are sent to an address: a public one, or one of a network that is allowed."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in allowed_networks):
        return True
    is_tunnel = isinstance(address, IPv6Address) and (
        address.is_site_local or address.sixtofour is not None or address.teredo is not None
    )
    return address.is_global and not (address.is_multicast or address.is_reserved or is_tunnel)


def _answer(status: int, retry_after: str) -> Answer:
    if status in range(200, 300):
        return Answer()
    known = f" {HTTPStatus(status).phrase}" if status in list(HTTPStatus) else ""
    redirect = ": redirects are not followed" if status in range(300, 400) else ""
    is_number = retry_after.isascii() and retry_after.isdecimal() and len(retry_after) <= _MOST_RETRY_AFTER_DIGITS
    return Answer(f"HTTP {status}{known}{redirect}", timedelta(seconds=int(retry_after)) if is_number else None)


def _described(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ForbiddenAddressError):
        return str(cause)
    printable = "".join(each for each in f"{type(error).__name__}: {error}" if each.isprintable())
    return printable[:_MOST_FAILURE_CHARACTERS]


class _Resolver(AbstractResolver):
    """The system's resolver, in threads of its own: a name server that hangs must not delay others' look-ups."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="webhook-resolver")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
