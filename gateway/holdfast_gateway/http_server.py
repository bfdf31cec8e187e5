"""The HTTP server: granian, embedded in the gateway's event loop. No other module imports granian.

The gateway's lifecycle handles the signals, and the gateway makes the listening socket, for three reasons: port 0 is
possible, two gateways cannot share a port by mistake (granian sets SO_REUSEPORT), and it can be closed without losing
connections.
"""

import asyncio
import ctypes
import logging
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from holdfast_chassis.identity.certificates import CertificateFiles
from holdfast_chassis.identity.workload_files import AUTHORITIES, CERTIFICATE, KEY
from holdfast_chassis.listening import authority, listening_address, take_ipv4_too
from holdfast_chassis.logs import get_logger
from holdfast_gateway import handover
from holdfast_gateway.exchange import ClientGoneError, Headers, RequestHeaders, Scope, Transport

log = get_logger(__name__)

Application = Callable[[Scope, Transport], Awaitable[None]]
_Message = dict[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_BACKLOG = 1024
# Time for a request that is still arriving on the last accepted connection.
_LINGER_SECONDS = 0.25
_ACCEPT_SECONDS = 1.0
_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """The limits that the server enforces."""

    connections: int
    header_bytes: int
    header_timeout_seconds: float
    stalled_client_seconds: float


class HttpServer:
    """A server that calls the application for every request."""

    def __init__(
        self,
        application: Application,
        host: str,
        port: int,
        limits: HttpLimits,
        certificate: CertificateFiles | None = None,
    ) -> None:
        """With a certificate, clients need one, too."""
        self._application = application
        self._host = host
        self._port = port
        self._limits = limits
        self._certificate = certificate
        self._server: _OnSocket | None = None
        self._former: dict[asyncio.Task[None], _OnSocket] = {}
        self._renewals: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def bound_port(self) -> int:
        """The port on which it listens. Raises RuntimeError if it is not listening."""
        if self._socket is None:
            raise RuntimeError("the HTTP server does not listen")
        port: int = self._socket.getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen. Raises OSError, for example when the port is taken."""
        listener = self._socket = _listen(self._host, self._port, self._limits.stalled_client_seconds)
        logging.getLogger("_granian").setLevel(logging.WARNING)
        self._server = self._new_server(listener)
        if self._certificate is not None:
            self._renewals = asyncio.create_task(self._follow(self._certificate, listener))
        scheme = "http" if self._certificate is None else "https"
        log.info("listening", address=f"{scheme}://{authority(self._host, self.bound_port)}")

    def _new_server(self, listener: socket.socket) -> "_OnSocket":
        directory = None if self._certificate is None else self._certificate.directory
        server = _OnSocket(self._application, listener, self._limits, directory)
        server.run()
        return server

    async def _follow(self, certificate: CertificateFiles, listener: socket.socket) -> None:
        """Serve new connections with each new certificate."""
        changed = asyncio.Event()
        certificate.on_change(changed.set)
        while await changed.wait():
            changed.clear()
            try:
                await self._renew(listener)
            except (OSError, ValueError) as error:
                log.warning("certificate_not_used", error=repr(error))

    async def _renew(self, listener: socket.socket) -> None:
        """Replace the server on the same socket, because granian reads its certificate only when it starts.

        The former server accepts no more connections, asks its clients to close theirs, and ends when they have. Raises
        OSError and ValueError, and the former server stays.
        """
        duplicates = handover.duplicates_of(listener)
        server = self._new_server(listener)
        try:
            await handover.wait_for_duplicate(listener, duplicates)
        except BaseException:
            await server.end()
            raise
        handover.replace(duplicates)
        former, self._server = self._server, server
        if former is not None:
            # Idle connections are closed after this time.
            retiring = asyncio.create_task(former.retire(self._limits.header_timeout_seconds + _LINGER_SECONDS))
            self._former[retiring] = former
            retiring.add_done_callback(self._former.pop)
        log.info("certificate_renewed")

    async def stop_accepting(self) -> None:
        """Refuse new connections, but accept those whose handshake has begun."""
        if self._socket is None or sys.platform != "linux":
            return
        try:
            _ignore_new_connections(self._socket)
            async with asyncio.timeout(_ACCEPT_SECONDS):
                while _not_accepted_yet(self._socket):  # noqa: ASYNC110 - the kernel does not tell, it must be asked
                    await asyncio.sleep(0.01)
        except TimeoutError:
            log.warning("connections_not_accepted", count=_not_accepted_yet(self._socket))
        except OSError as error:
            # A sandbox may forbid it. Then a few connections are lost, as with any other server.
            log.warning("new_connections_not_ignored", error=str(error))
        await asyncio.sleep(_LINGER_SECONDS)

    async def stop(self) -> None:
        """Close the listener and all idle connections. Return when the requests in progress are answered."""
        if self._server is None or self._socket is None:
            return
        if self._renewals is not None:
            self._renewals.cancel()
        for retiring in self._former:
            retiring.cancel()
        try:
            await asyncio.gather(*(server.end() for server in (self._server, *self._former.values())))
        finally:
            self._socket.close()


def _speaking_asgi(
    application: Application, connection: Headers
) -> Callable[[_Message, _Receive, _Send], Awaitable[None]]:
    """`connection` is added to the headers of every answer."""

    async def answer(scope: _Message, receive: _Receive, send: _Send) -> None:
        told = Scope(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
            scope["http_version"],
            RequestHeaders(scope["headers"]),
            scope["client"][0],
        )
        await application(told, _AsgiTransport(receive, send, connection))

    return answer


class _AsgiTransport:
    """One exchange, as ASGI messages."""

    __slots__ = ("_connection", "_receive", "_send")

    def __init__(self, receive: _Receive, send: _Send, connection: Headers) -> None:
        self._receive = receive
        self._send = send
        self._connection = connection

    async def body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                raise ClientGoneError
            yield message["body"]
            more = message["more_body"]

    async def client_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        await self.begin(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, status: int, headers: Headers) -> None:
        encoded = [(name.encode(), value.encode()) for name, value in (*headers, *self._connection)]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def push(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


class _OnSocket(Server):
    """granian's embedded server, on the gateway's socket."""

    def __init__(
        self, application: Application, listener: socket.socket, limits: HttpLimits, tls_dir: Path | None
    ) -> None:
        """Raises OSError and ValueError for an unusable certificate."""
        self._connection: Headers = []
        own: dict[str, Any] = {}
        if tls_dir is not None:
            own = {"ssl_cert": tls_dir / CERTIFICATE, "ssl_key": tls_dir / KEY}
            own |= {"ssl_ca": tls_dir / AUTHORITIES, "ssl_client_verify": True}
        super().__init__(
            _speaking_asgi(application, self._connection),
            # The only interface of granian that provides the path as it was sent, with %2F not decoded. See ADR 17.
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=limits.connections,
            log_enabled=False,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(limits.header_timeout_seconds * 1000),
                # What is larger, the server refuses by itself and without a body; the application refuses earlier.
                max_buffer_size=2 * limits.header_bytes,
            ),
            **own,
        )
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Begin to serve."""
        self._serving = asyncio.create_task(self.serve())

    async def end(self) -> None:
        """Close all idle connections. Return when the requests in progress are answered."""
        self.stop()  # type: ignore[no-untyped-call]
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def retire(self, idle_seconds: float) -> None:
        """Close each connection after its next answer, and end when the others have been idle for too long."""
        self._connection.append(("connection", "close"))
        await asyncio.sleep(idle_seconds)
        await self.end()

    def _init_shared_socket(self) -> None:
        # A duplicate descriptor: granian closes it, and the original still provides the port and the queue.
        descriptor = self._listener.dup().detach()
        self._shd = SocketHolder(descriptor, False, _BACKLOG)  # type: ignore[call-arg,assignment]


def _listen(host: str, port: int, stalled_client_seconds: float) -> socket.socket:
    host = listening_address(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit these. A client that does not read must not keep its answer in memory forever.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            milliseconds = int(stalled_client_seconds * 1000)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        take_ipv4_too(listener)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _ignore_new_connections(listener: socket.socket) -> None:
    """Let the kernel drop new SYNs to the listener; handshakes that have begun still complete.

    Closing the listener at once would reset connections that were not accepted yet.
    """
    load_tcp_flags, jump_unless_syn, drop, keep = 0x30, 0x45, (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in ((load_tcp_flags, 0, 0, 13), (jump_unless_syn, 0, 1, 0x02), drop, keep)
    )
    held = ctypes.create_string_buffer(program, len(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(held)))


def _not_accepted_yet(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted (tcpi_unacked of a listening socket)."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    count: int = struct.unpack_from("I", info, 24)[0]
    return count
