"""The channel to the inventory: its choice of replicas, retries and timeouts."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.direct import CHANNEL_OPTIONS
from holdfast_chassis.identity.certificates import CertificateFiles
from holdfast_chassis.logs import get_logger
from holdfast_chassis.rates.callers import COUNTED
from holdfast_gateway import sale_affinity
from holdfast_gateway.problems import INVENTORY_UNAVAILABLE, OVERLOADED, Problem, ProblemError, problem_of_status
from holdfast_gateway.routes import Route
from holdfast_gateway.sale_affinity import SaleAffinity

log = get_logger(__name__)

# Outside xDS, gRPC's ring hash reads a header only where this is set (gRFC A76). It looks when a channel is made.
os.environ.setdefault("GRPC_EXPERIMENTAL_RING_HASH_SET_REQUEST_HASH_KEY", "true")

_MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
_KEEPALIVE_MS = 15_000
_KEEPALIVE_TIMEOUT_MS = 5_000
_CONNECT_TIMEOUT_MS = 1_000
_RECONNECT_MAX_MS = 2_000
_RESOLVE_AGAIN_MS = 2_000
_WAKE_AGAIN_SECONDS = 0.02
# If a channel knows no healthy replica: how long calls wait for others to be found, how often they are looked for, and
# how long calls to the former ones may continue.
_LOOK_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 1.0
_FORMER_SECONDS = 60.0
_TRYING = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)
_DETAILS = "grpc-status-details-bin"
# Like gRPC's header for its own attempts: "nothing was done" by this attempt says nothing about the earlier one.
_SENT_BEFORE = ("holdfast-previous-attempts", "1")

RESERVATION_SERVICE = "holdfast.inventory.v1.ReservationService"
SUBMIT = f"/{RESERVATION_SERVICE}/Submit"

Metadata = Sequence[tuple[str, str]]
Stream = grpc.aio.UnaryStreamCall[Message, Message]


def service_config(routes: Iterable[Route]) -> str:
    """Return gRPC's service config: a sale's calls go to one healthy replica, others to any; and the retries.

    UNAVAILABLE and CANCELLED (a stopping server's answer to queued calls) are retried, with a budget, so that retries
    do not multiply the load during an outage. Methods that are not repeatable are not retried.
    """
    retry = {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    names = []
    for route in routes:
        if route.method.repeatable:
            service, method = route.method.path[1:].split("/")
            names.append({"service": service, "method": method})
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"ring_hash_experimental": sale_affinity.RING}],
        "healthCheckConfig": {"serviceName": RESERVATION_SERVICE},
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }
    if names:
        config["methodConfig"] = [{"name": names, "retryPolicy": retry}]
    return json.dumps(config)


def _options(routes: Iterable[Route]) -> list[tuple[str, Any]]:
    return [
        *CHANNEL_OPTIONS,
        ("grpc.service_config", service_config(routes)),
        # A service config from the DNS would replace this one.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", 1),
        # The server permits a ping every 10 s, even without calls: a frozen replica is noticed in 20 s.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        # This also limits the time for making a connection.
        ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MAX_MS),
        ("grpc.dns_min_time_between_resolutions_ms", _RESOLVE_AGAIN_MS),
        ("grpc.max_send_message_length", _MESSAGE_LIMIT_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
    ]


class InventoryTls(NamedTuple):
    """What proves this gateway to the inventory, and the DNS name that the inventory proves to have."""

    certificate: CertificateFiles
    name: str


def _channel(target: str, options: list[tuple[str, Any]], tls: InventoryTls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    own = tls.certificate.newest
    credentials = grpc.ssl_channel_credentials(own.authorities, own.key, own.chain)
    return grpc.aio.secure_channel(target, credentials, [*options, ("grpc.ssl_target_name_override", tls.name)])


class _Connection:
    """A channel, with the inventory's methods."""

    def __init__(self, target: str, routes: Sequence[Route], tls: InventoryTls | None) -> None:
        channel = self.channel = _channel(target, _options(routes), tls)
        self.health = health_pb2_grpc.HealthStub(channel)
        self.methods: dict[str, Any] = {}
        for route in routes:
            make = channel.unary_stream if route.rpc.server_streaming else channel.unary_unary
            self.methods[route.method.path] = make(
                route.method.path,
                request_serializer=route.request_class.SerializeToString,
                response_deserializer=route.response_class.FromString,
            )
        self.methods[SUBMIT] = channel.unary_unary(
            SUBMIT,
            request_serializer=pb.SubmitRequest.SerializeToString,
            response_deserializer=pb.SubmitResponse.FromString,
        )

    @property
    def state(self) -> grpc.ChannelConnectivity:
        """Return whether it is connected. This also starts connecting."""
        return self.channel.get_state(try_to_connect=True)

    async def left(self, state: grpc.ChannelConnectivity) -> None:
        """Wait until it is in another state."""
        if state is not grpc.ChannelConnectivity.IDLE:
            await self.channel.wait_for_state_change(state)
            return
        # A ring hash connects only for a call, and not for one that still went to the connection that has just ended.
        while self.state is state:
            with suppress(grpc.aio.AioRpcError):
                await self.health.Check(health_pb2.HealthCheckRequest(), timeout=_CONNECT_TIMEOUT_MS / 1000)
            await asyncio.sleep(_WAKE_AGAIN_SECONDS)

    async def verdict(self, timeout_seconds: float) -> bool:
        """Wait until it is known whether a healthy replica is connected, and return it."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (state := self.state) in _TRYING:
                    await self.left(state)
                return state is grpc.ChannelConnectivity.READY
        except TimeoutError:
            return False


class InventoryClient:
    """A client of the inventory's RPCs, by their routes. Every failure is a ProblemError."""

    def __init__(
        self,
        target: str,
        routes: Sequence[Route],
        connect_wait_seconds: float,
        tls: InventoryTls | None = None,
        *,
        counts_rates: bool = False,
    ) -> None:
        """`counts_rates`: calls are counted before they come here."""
        self._target = target
        self._tls = tls
        self._counted: Metadata = (COUNTED,) if counts_rates else ()
        self._renewed = asyncio.Event()
        self._routes = routes
        self._connect_wait_seconds = connect_wait_seconds
        self._connection: _Connection
        self._watcher: asyncio.Task[None] | None = None
        self._former: set[asyncio.Task[None]] = set()
        self._connecting = True
        self._settled = asyncio.Event()
        self._affinity = SaleAffinity()

    async def start(self) -> None:
        """Open the channel. It connects by itself; the inventory need not be available yet."""
        self._connection = self._new_connection()
        self._watcher = asyncio.create_task(self._watch())
        if self._tls is not None:
            self._tls.certificate.on_change(self._renewed.set)

    async def stop(self) -> None:
        """Close the channel. Calls in progress are cancelled."""
        if self._watcher is None:
            return
        tasks = {self._watcher, *self._former}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._connection.channel.close()

    async def _watch(self) -> None:
        """Track whether the channel is still trying to connect; gRPC would let calls wait for that."""
        while (state := self._connection.state) is not grpc.ChannelConnectivity.SHUTDOWN:
            log.debug("inventory_channel", state=state.name)
            self._settle_calls(state not in _TRYING)
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                await self._look_for_others()
            elif self._renewed.is_set():
                await self._use_renewed_certificate()
            else:
                await self._left_or_renewed(state)

    def _settle_calls(self, settled: bool) -> None:
        self._connecting = not settled
        if settled:
            self._settled.set()
        else:
            self._settled.clear()

    async def _left_or_renewed(self, state: grpc.ChannelConnectivity) -> None:
        waits = [asyncio.create_task(self._connection.left(state)), asyncio.create_task(self._renewed.wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()

    async def _use_renewed_certificate(self) -> None:
        """Connect again, because a channel keeps the certificate that it was made with."""
        self._renewed.clear()
        if not await self._change_connection("certificate_renewed"):
            # The former channel works as long as its connections last; then others are looked for.
            log.warning("no_connection_with_the_renewed_certificate")

    async def _look_for_others(self) -> None:
        """Resolve the name again, which gRPC does only when a connection ends.

        If all replicas are replaced at once, all become unready but keep serving, so no connection ends.
        """
        self._settle_calls(False)
        if not await self._change_connection("inventory_found_again"):
            # The channel reconnects to known replicas by itself.
            self._settle_calls(True)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _change_connection(self, event: str) -> bool:
        """Return whether a new channel has reached a healthy replica in time, and is used from now on."""
        former, others = self._connection, self._new_connection()
        try:
            if not await others.verdict(_LOOK_SECONDS):
                return False
            log.info(event)
            self._connection = others
            task = asyncio.create_task(_close_later(former))
            self._former.add(task)
            task.add_done_callback(self._former.discard)
            return True
        finally:
            if self._connection is former:
                await others.channel.close()

    def _new_connection(self) -> _Connection:
        return _Connection(self._target, self._routes, self._tls)

    async def _settle(self, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(min(self._connect_wait_seconds, timeout_seconds)):
                await self._settled.wait()
        except TimeoutError:
            raise ProblemError(unavailable()) from None

    async def call(
        self, route: Route, request: Message, timeout_seconds: float, metadata: Metadata, sale: str = ""
    ) -> tuple[Message, bool]:
        """Return the response, and whether it is a replay. `sale`: the name of the one that is changed.

        Raises ProblemError.
        """
        async with self._towards(sale) as where, _problems(changes_nothing=route.method.kind.changes_nothing):
            # The commands of a caller's own Submit are not counted yet.
            counted = () if route.method.carries_credentials else self._counted
            metadata = (*metadata, *where, *counted)
            call, response = await self._ask(
                route.method.path, request, timeout_seconds, metadata, again=route.method.repeatable
            )
            return response, _is_replay(await call.trailing_metadata())

    async def submit(
        self, request: pb.SubmitRequest, timeout_seconds: float, traceparent: str | None = None
    ) -> pb.SubmitResponse:
        """Send commands in one Submit. Raises ProblemError if the whole Submit failed."""
        trace = () if traceparent is None else (("traceparent", traceparent),)
        async with self._towards(request.parent) as where, _problems(changes_nothing=False):
            response: pb.SubmitResponse
            metadata = (*trace, *where, *self._counted)
            _, response = await self._ask(SUBMIT, request, timeout_seconds, metadata, again=True)
            return response

    @asynccontextmanager
    async def _towards(self, sale: str) -> AsyncIterator[Metadata]:
        """Yield what makes a call go to the sale's replica, and learn from a refusal."""
        try:
            yield self._affinity.metadata(sale)
        except ProblemError as error:
            if error.problem.reason is OVERLOADED:
                self._affinity.overloaded(sale)
            raise

    async def _ask(
        self, path: str, request: Message, timeout_seconds: float, metadata: Metadata, *, again: bool
    ) -> tuple[Any, Any]:
        """Return the call and its response; `again`: it may be repeated with replicas that were found meanwhile."""
        if self._connecting:
            await self._settle(timeout_seconds)
        connection = self._connection
        call = connection.methods[path](request, timeout=timeout_seconds, metadata=metadata)
        try:
            return call, await call
        except grpc.aio.AioRpcError as error:
            if not again or connection is self._connection or error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        metadata = (*metadata, _SENT_BEFORE)
        call = self._connection.methods[path](request, timeout=timeout_seconds, metadata=metadata)
        return call, await call

    async def open_stream(self, route: Route, request: Message, metadata: Metadata) -> Stream:
        """Begin a server-streaming call. Errors are raised when it is read."""
        if self._connecting:
            await self._settle(self._connect_wait_seconds)
        metadata = (*metadata, *self._counted)
        stream: Stream = self._connection.methods[route.method.path](request, metadata=metadata)
        return stream

    async def read(self, stream: Stream) -> Message | None:
        """Return the stream's next message, or None at its end. Raises ProblemError."""
        async with _problems(changes_nothing=True):
            message = await stream.read()
            return message if isinstance(message, Message) else None  # grpc.aio.EOF

    async def serving_statuses(self, timeout_seconds: float) -> dict[str, int]:
        """Return the inventory's health states, by name. Raises ProblemError if it does not answer."""
        if self._connecting:
            await self._settle(timeout_seconds)
        async with _problems(changes_nothing=True):
            response = await self._connection.health.List(health_pb2.HealthListRequest(), timeout=timeout_seconds)
            return {name: answer.status for name, answer in response.statuses.items()}


async def _close_later(former: _Connection) -> None:
    """Close it after its calls in progress have had their time, or at once if cancelled."""
    try:
        await asyncio.sleep(_FORMER_SECONDS)
    finally:
        await former.channel.close()


@asynccontextmanager
async def _problems(*, changes_nothing: bool) -> AsyncIterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        problem = problem_of_status(status_of(error), changes_nothing=changes_nothing)
        if problem.reason.http_status >= 500:
            log.warning("inventory_failed", code=error.code().name, message=error.details())
        raise ProblemError(problem) from None


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the google.rpc.Status in the error, or one with its code and message."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    code: int = error.code().value[0]
    return status_pb2.Status(code=code, message=error.details() or "")


def _is_replay(trailer: Iterable[tuple[str, str | bytes]]) -> bool:
    return any(key == "idempotent-replayed" and value == "true" for key, value in trailer)


def unavailable() -> Problem:
    """Return the refusal for the case that no replica can be reached."""
    return Problem(INVENTORY_UNAVAILABLE, "No replica of the inventory can be reached.", retry_after_seconds=1.0)
