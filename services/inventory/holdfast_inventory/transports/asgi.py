"""gRPC over any ASGI server with HTTP/2 and trailers: converts its requests to exchanges.

The application never raises, because a server's own answer to an exception could look like a success to a gRPC client.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from google.rpc.code_pb2 import Code

from holdfast_chassis.clock import SYSTEM_CLOCK
from holdfast_chassis.logs import get_logger
from holdfast_inventory.ports import Ending, Endpoint, Metadata, ServerLimits
from holdfast_inventory.transports import grpc_wire
from holdfast_inventory.transports.grpc_wire import Messages, WireError

log = get_logger("holdfast.server")

# Set by the server, by the client's certificate: Hash=...;DNS=...;DNS=...
_CLIENT_CERTIFICATE = b"x-forwarded-client-cert"
_dns_names = re.compile(rb";DNS=([^;,]+)").findall

Scope = dict[str, Any]
Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_HEADERS = [(b"content-type", b"application/grpc")]
_REFUSAL_HEADERS = [*_HEADERS, (b"grpc-accept-encoding", grpc_wire.ENCODINGS)]
_START = {"type": "http.response.start", "status": 200, "headers": _HEADERS, "trailers": True}
_NOT_GRPC_HEADERS = [(b"accept", b"application/grpc"), (b"content-type", b"text/plain")]
_NOT_GRPC = {"type": "http.response.start", "status": 415, "headers": _NOT_GRPC_HEADERS}
_NOT_GRPC_TEXT = {"type": "http.response.body", "body": b"only gRPC is spoken here\n", "more_body": False}
_END_OF_BODY = {"type": "http.response.body", "body": b"", "more_body": False}

_EXPIRED = Ending(b"", (), Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
_TOO_OLD = Ending(b"", (), Code.UNAVAILABLE, "max connection age: call again")
_STOPPING = Ending(b"", (), Code.UNAVAILABLE, "the server stops: try another one")
_BROKEN = Ending(b"", (), Code.INTERNAL, "internal error")
_NO_SINGLE_REQUEST = "exactly one request is expected, not {}"
# The first and the longest interval at which a call checks whether its caller is still connected, because a server may
# not report a disconnect by itself.
_LOOK_SECONDS = 0.1
_LOOK_SECONDS_MAX = 2.0


class Application:
    """The ASGI application that serves endpoints."""

    def __init__(self, limits: ServerLimits, endpoints: Iterable[Endpoint]) -> None:
        self._max_request_bytes = limits.max_request_bytes
        # A server may leave it to the application to end the calls of a connection that is closing.
        self._max_call_seconds = limits.max_connection_age_seconds + limits.max_connection_age_grace_seconds
        self._endpoints = {endpoint.path: endpoint for endpoint in endpoints}
        self._calls: set[_Call] = set()
        self._stopping = False
        self._idle = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        with suppress(OSError):  # In ASGI this means that the caller has disconnected.
            if grpc_wire.is_grpc(scope["method"], scope["headers"]):
                await self._answer(scope, receive, send)
            else:
                await send(_NOT_GRPC)
                await send(_NOT_GRPC_TEXT)

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, and end calls that are still in progress after `grace_seconds`."""
        self._stopping = True
        if self._calls:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_seconds):
                    await self._idle.wait()
        for call in self._calls:
            call.cut(_STOPPING)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = _Call(scope, receive, send, self._max_call_seconds)
        self._calls.add(call)
        try:
            await call.end(await self._ending(call, scope))
        finally:
            self._calls.discard(call)
            if self._stopping and not self._calls:
                self._idle.set()

    async def _ending(self, call: "_Call", scope: Scope) -> Ending | None:
        """Serve the call. Return None if its caller has disconnected."""
        endpoint = self._endpoints.get(scope["path"])
        if self._stopping:
            return _STOPPING
        if endpoint is None:
            return Ending(b"", (), Code.UNIMPLEMENTED, "Method not found!")
        try:
            messages = Messages(call.read_headers(scope["headers"]), self._max_request_bytes)
            request = call.requests(messages) if endpoint.takes_stream else await call.request(messages)
            return None if request is None else await call.serve(endpoint, request)
        except WireError as error:
            return error.ending
        except Exception:
            log.exception("transport_failed", path=endpoint.path)
            return _BROKEN


def _waited_seconds(arrived_at: float | None) -> float:
    """Return how long a call has waited for Python, which counts against its deadline."""
    return 0.0 if arrived_at is None else max(SYSTEM_CLOCK.now().timestamp() - arrived_at, 0.0)


class _Call:
    """A request as an Exchange."""

    __slots__ = (
        "_cut",
        "_deadline_at",
        "_ends_at",
        "_gives_stream",
        "_gone",
        "_has_begun",
        "_is_asking",
        "_look_seconds",
        "_loop",
        "_receive",
        "_scope",
        "_send",
        "_task",
        "_timer",
        "metadata",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_seconds: float) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._look_seconds = _LOOK_SECONDS
        self._deadline_at: float | None = None
        self._ends_at = self._loop.time() + max_seconds
        self._cut: Ending | None = None
        self._gone = False
        self._gives_stream = False
        self._has_begun = False
        self._is_asking = False
        self.metadata: Metadata = ()
        """The metadata that the caller sent."""

    @property
    def peer(self) -> str:
        """The caller's address, in gRPC's notation."""
        host, port = self._scope["client"]
        return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"

    @property
    def workload(self) -> Collection[str]:
        """The DNS names in the certificate of the connection's other end."""
        told = dict(self._scope["headers"]).get(_CLIENT_CERTIFICATE, b"")
        return {name.decode("latin-1") for name in _dns_names(told)}

    def remaining_seconds(self) -> float | None:
        """Return the seconds until the caller's deadline, or None."""
        return None if self._deadline_at is None else self._deadline_at - self._loop.time()

    async def begin(self, metadata: Metadata) -> None:
        """Send the headers of the answer."""
        self._has_begun = True
        headers = [*_HEADERS, *grpc_wire.headers_of(metadata)] if metadata else _HEADERS
        await self._send({**_START, "headers": headers})

    async def write(self, message: bytes) -> None:
        """Send one message of the answer."""
        if not self._has_begun:
            await self.begin(())
        event = {"type": "http.response.body", "body": grpc_wire.framed(message), "more_body": True}
        try:
            # The server's own future must not be cancelled.
            await asyncio.shield(self._send(event))
        except OSError:
            self.cut(None)
            await asyncio.sleep(0)

    def read_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Read the headers. Return the encoding of messages. Raises WireError."""
        self.metadata, timeout_seconds, encoding, arrived_at = grpc_wire.read_headers(headers)
        if timeout_seconds is not None:
            self._deadline_at = self._loop.time() + timeout_seconds - _waited_seconds(arrived_at)
            self._ends_at = min(self._ends_at, self._deadline_at)
        return encoding

    async def request(self, messages: Messages) -> bytes | None:
        """Wait for the only message and the end; None: the caller has disconnected. Raises WireError."""
        event = await self._receive()
        if not event.get("more_body") and (message := messages.single(event.get("body", b""))) is not None:
            return message
        came: list[bytes] = []
        while event["type"] == "http.request":
            messages.feed(event.get("body", b""))
            while (message := messages.next()) is not None:
                came.append(message)
            if len(came) > 1:
                break
            if not event.get("more_body"):
                messages.end()
                break
            event = await self._receive()
        else:
            return None
        if len(came) != 1:
            raise WireError(Code.UNIMPLEMENTED, _NO_SINGLE_REQUEST.format("more" if came else "none"))
        return came[0]

    async def requests(self, messages: Messages) -> AsyncIterator[bytes]:
        """Yield the messages as they arrive. This also detects a disconnect."""
        more = True
        try:
            while more:
                event = await asyncio.shield(self._receive())
                if event["type"] != "http.request":
                    self.cut(None)
                    break
                messages.feed(event.get("body", b""))
                while (message := messages.next()) is not None:
                    yield message
                more = event.get("more_body", False)
            else:
                messages.end()
        except WireError as error:
            self.cut(error.ending)
        finally:
            self._is_asking = False
        await asyncio.sleep(0)  # The end of a call that was cut off.

    async def serve(self, endpoint: Endpoint, request: bytes | AsyncIterator[bytes]) -> Ending | None:
        """Serve the call until it ends or is cut off."""
        self._task = asyncio.current_task()
        self._gives_stream = endpoint.gives_stream
        # This ends the stream of requests for its reader.
        self._is_asking = endpoint.takes_stream
        self._wait()
        try:
            return await endpoint.serve(request, self)
        except asyncio.CancelledError:
            if self._cut is None and not self._gone:
                raise
            return self._cut
        finally:
            self._task = None
            if self._timer is not None:
                self._timer.cancel()

    def cut(self, ending: Ending | None) -> None:
        """End the call now with this ending; None: its caller has disconnected."""
        if self._task is not None and not self._gone and self._cut is None:
            self._cut = ending
            self._gone = ending is None
            self._task.cancel()

    async def end(self, ending: Ending | None) -> None:
        """Send the ending of the call."""
        if ending is None:
            return
        send, trailers = self._send, grpc_wire.trailers_of(ending)
        has_message = not (ending.code or self._gives_stream)
        if not (self._has_begun or has_message):
            # With headers only, in one frame.
            await send({"type": "http.response.start", "status": 200, "headers": [*_REFUSAL_HEADERS, *trailers]})
            await send(_END_OF_BODY)
            return
        if not self._has_begun:
            await send(_START)
        body = grpc_wire.framed(ending.message) if has_message else b""
        await send({"type": "http.response.body", "body": body, "more_body": False})
        await send({"type": "http.response.trailers", "headers": trailers})

    def _wait(self) -> None:
        """Schedule the next check, or the end of the call."""
        seconds = min(self._look_seconds, self._ends_at - self._loop.time())
        self._timer = self._loop.call_later(max(seconds, 0.0), self._look)

    def _look(self) -> None:
        if self._loop.time() >= self._ends_at:
            return self.cut(_EXPIRED if self._ends_at == self._deadline_at else _TOO_OLD)
        if not self._is_asking:
            self._is_asking = True
            asyncio.ensure_future(self._receive()).add_done_callback(self._seen)
        self._look_seconds = min(2 * self._look_seconds, _LOOK_SECONDS_MAX)
        return self._wait()

    def _seen(self, answer: asyncio.Future[Event]) -> None:
        self._is_asking = False
        if answer.cancelled() or answer.exception() or answer.result()["type"] == "http.disconnect":
            self.cut(None)
