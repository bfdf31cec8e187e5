"""gRPC by grpc.aio: its options, and the conversion of its calls to exchanges."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Any

import grpc

from holdfast_chassis.identity.certificates import CertificateFiles
from holdfast_chassis.logs import get_logger
from holdfast_inventory.ports import MAX_METADATA_BYTES, Ending, Endpoint, Metadata, ServerLimits

log = get_logger("holdfast.server")

Context = grpc.aio.ServicerContext[Any, Any]

_PENDING_CALLS = 8_000
_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
# By whether a method takes a stream, and whether it gives one.
_NEW_HANDLER: "dict[tuple[bool, bool], Callable[[Any], grpc.RpcMethodHandler[Any, Any]]]" = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Server:
    """Serves endpoints."""

    def __init__(self, limits: ServerLimits, endpoints: Iterable[Endpoint]) -> None:
        self._limits = limits
        self._server = grpc.aio.server(options=_options(limits))
        self._server.add_generic_rpc_handlers((_Handlers(endpoints),))
        self.address = ""
        """The address on which it listens, once it has started."""

    async def start(self) -> None:
        """Listen. Raises OSError if a port is taken."""
        limits = self._limits
        try:
            port = self._bind(limits.address_with(limits.port))
            if limits.plain_port is not None:
                self._server.add_insecure_port(limits.address_with(limits.plain_port))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {limits.addresses}: is the port taken?") from error
        self.address = limits.address_with(port)
        await self._server.start()
        log.info("listening", address=self.address)

    def _bind(self, address: str) -> int:
        if self._limits.certificate is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, _credentials(self._limits.certificate))

    async def stop(self, grace_seconds: float) -> None:
        """Accept no more calls, and give calls in progress `grace_seconds`. Wait for quiet first (see
        `Calls.arrivals`).
        """
        await self._server.stop(grace_seconds)


def _credentials(files: CertificateFiles) -> grpc.ServerCredentials:
    """Return credentials that require the clients' certificates, and use the newest of our own for each handshake."""

    def newest() -> grpc.ServerCertificateConfiguration:
        own = files.newest
        return grpc.ssl_server_certificate_configuration([(own.key, own.chain)], own.authorities)

    return grpc.dynamic_ssl_server_credentials(newest(), newest, require_client_authentication=True)


def _options(limits: ServerLimits) -> Sequence[tuple[str, int]]:
    return (
        # On by default, which would let two servers share a port by mistake.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        # Between these two limits gRPC refuses at random, and always without a reason. The API's own limit is lower.
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # Calls that Python has not taken yet. Beyond 1,000, the default, gRPC cancels calls at random and without a
        # reason: a burst, or a flood of resets, would do that to other callers. Admission refuses with a reason.
        ("grpc.server.max_pending_requests", _PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", 2 * _PENDING_CALLS),
        # How much is read ahead of each connection. A header block that does not end took 107 MB of memory without
        # this, and takes 38 MB with it; ordinary calls cost the same.
        ("grpc.experimental.tcp_max_read_buffer_size", 65_536),
        # Answers are limited by page sizes, of movements and of reservations with up to 100 lines.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
        # More connections are closed at once; without a limit, memory or file descriptors would run out.
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        # Clients resolve names again only on disconnect: without a maximum age, new replicas would get no traffic.
        ("grpc.max_connection_age_ms", round(limits.max_connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(limits.max_connection_age_grace_seconds * 1000)),
        # Find dead peers, and let clients do the same as often, with or without calls in progress.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
    )


class _Handlers(grpc.GenericRpcHandler):
    """The handlers of endpoints, by their paths."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._handlers = {endpoint.path: _handler(endpoint) for endpoint in endpoints}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Return the handler of a call, or None."""
        return self._handlers.get(handler_call_details.method)


class _Exchange:
    """A ServicerContext as an Exchange."""

    __slots__ = ("_context", "begin", "remaining_seconds", "write")

    def __init__(self, context: Context) -> None:
        self._context = context
        self.begin = context.send_initial_metadata
        self.remaining_seconds = context.time_remaining
        self.write = context.write

    @property
    def metadata(self) -> Metadata:
        """The metadata that the caller sent."""
        metadata: Any = self._context.invocation_metadata()
        return metadata or ()

    @property
    def peer(self) -> str:
        """Its address."""
        return self._context.peer()

    @property
    def workload(self) -> Collection[str]:
        """The DNS names in the certificate of the connection's other end."""
        return {name.decode() for name in self._context.auth_context().get("peer_dns", ())}


def _handler(endpoint: Endpoint) -> "grpc.RpcMethodHandler[Any, Any]":
    serve = endpoint.serve

    async def answer(request: bytes | AsyncIterator[bytes], context: Context) -> bytes:
        return await _end(context, await serve(request, _Exchange(context)))

    # Without serializers: bytes in and bytes out.
    return _NEW_HANDLER[endpoint.takes_stream, endpoint.gives_stream](answer)


async def _end(context: Context, ending: Ending) -> bytes:
    if ending.code:
        return await context.abort(_STATUS_CODES[ending.code], ending.description, ending.trailers)
    if ending.trailers:
        context.set_trailing_metadata(ending.trailers)
    return ending.message
