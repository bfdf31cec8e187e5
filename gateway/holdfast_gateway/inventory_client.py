"""The channel to inventory: which replicas it uses, what it retries, and how fast it gives up."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_chassis.direct import CHANNEL_OPTIONS
from holdfast_chassis.logs import get_logger
from holdfast_gateway.problems import INVENTORY_UNAVAILABLE, Problem, ProblemError, problem_of_status
from holdfast_gateway.routes import Route

log = get_logger(__name__)

_MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024
_KEEPALIVE_MS = 15_000
_KEEPALIVE_TIMEOUT_MS = 5_000
_CONNECT_TIMEOUT_MS = 1_000
_RECONNECT_MAX_MS = 2_000
_RESOLVE_AGAIN_MS = 2_000
# When nobody is well of those whom a channel knows: how long calls wait for others to be found, how often these are
# looked for, and how long what is under way with the former may go on.
_LOOK_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 1.0
_FORMER_SECONDS = 60.0
_TRYING = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)
_DETAILS = "grpc-status-details-bin"
# As gRPC tells of its own attempts: that this one did nothing must not be taken for what became of the one before it.
_SENT_BEFORE = ("holdfast-previous-attempts", "1")

RESERVATION_SERVICE = "holdfast.inventory.v1.ReservationService"
SUBMIT = f"/{RESERVATION_SERVICE}/Submit"

Metadata = Sequence[tuple[str, str]]
Stream = grpc.aio.UnaryStreamCall[Message, Message]


def service_config(routes: Iterable[Route]) -> str:
    """Return gRPC's service config: every replica that reports itself healthy in turn, and what is retried.

    UNAVAILABLE and CANCELLED (what a stopping server answers to calls that it has queued) are retried, with a budget
    so that an outage is not multiplied. Methods that must not be sent twice are left to the caller.
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
        "loadBalancingConfig": [{"round_robin": {}}],
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
        # The config is ours; one from the DNS would replace it.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", 1),
        # The server permits a ping every 10 s, also without calls: a frozen replica is noticed in 20 s.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        # This is also how long a connection may take to be made.
        ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MAX_MS),
        ("grpc.dns_min_time_between_resolutions_ms", _RESOLVE_AGAIN_MS),
        ("grpc.max_send_message_length", _MESSAGE_LIMIT_BYTES),
        ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
    ]


class _Connection:
    """A channel, and inventory's methods on it."""

    def __init__(self, target: str, routes: Sequence[Route]) -> None:
        channel = self.channel = grpc.aio.insecure_channel(target, options=_options(routes))
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
        """Whether it is connected; asking makes it try."""
        return self.channel.get_state(try_to_connect=True)

    async def verdict(self, timeout_seconds: float) -> bool:
        """Return whether somebody is there and well, once that is known."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while (state := self.state) in _TRYING:
                    await self.channel.wait_for_state_change(state)
                return state is grpc.ChannelConnectivity.READY
        except TimeoutError:
            return False


class InventoryClient:
    """Calls inventory's RPCs by their routes; every failure is a ProblemError."""

    def __init__(self, target: str, routes: Sequence[Route], connect_wait_seconds: float) -> None:
        self._target = target
        self._routes = routes
        self._connect_wait_seconds = connect_wait_seconds
        self._connection: _Connection
        self._watcher: asyncio.Task[None] | None = None
        self._former: set[asyncio.Task[None]] = set()
        self._connecting = True
        self._settled = asyncio.Event()

    async def start(self) -> None:
        """Open the channel; it connects by itself, and inventory need not be there yet."""
        self._connection = _Connection(self._target, self._routes)
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close the channel; calls that are still under way are cancelled."""
        if self._watcher is None:
            return
        tasks = {self._watcher, *self._former}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._connection.channel.close()

    async def _watch(self) -> None:
        """Know whether the channel is still trying to connect, for which gRPC would let calls wait."""
        while (state := self._connection.state) is not grpc.ChannelConnectivity.SHUTDOWN:
            log.debug("inventory_channel", state=state.name)
            self._settle_calls(state not in _TRYING)
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                await self._look_for_others()
            else:
                await self._connection.channel.wait_for_state_change(state)

    def _settle_calls(self, settled: bool) -> None:
        self._connecting = not settled
        if settled:
            self._settled.set()
        else:
            self._settled.clear()

    async def _look_for_others(self) -> None:
        """Ask for the name again, which gRPC does only when a connection ends.

        Replicas that are replaced all at once say together that they are leaving, but they serve on and end none.
        """
        self._settle_calls(False)
        former, others = self._connection, _Connection(self._target, self._routes)
        try:
            if await others.verdict(_LOOK_SECONDS):
                log.info("inventory_found_again")
                self._connection = others
                task = asyncio.create_task(_close_later(former))
                self._former.add(task)
                task.add_done_callback(self._former.discard)
                return
        finally:
            if self._connection is former:
                await others.channel.close()
        # Those that the channel knows, it finds again by itself.
        self._settle_calls(True)
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _settle(self, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(min(self._connect_wait_seconds, timeout_seconds)):
                await self._settled.wait()
        except TimeoutError:
            raise ProblemError(unavailable()) from None

    async def call(
        self, route: Route, request: Message, timeout_seconds: float, metadata: Metadata
    ) -> tuple[Message, bool]:
        """Return the response, and whether it is a replay. Raises ProblemError."""
        async with _problems(changes_nothing=route.method.kind.changes_nothing):
            call, response = await self._ask(
                route.method.path, request, timeout_seconds, metadata, again=route.method.repeatable
            )
            return response, _is_replay(await call.trailing_metadata())

    async def submit(self, request: pb.SubmitRequest, timeout_seconds: float) -> pb.SubmitResponse:
        """Send commands together. Raises ProblemError when none of them has an outcome of its own."""
        async with _problems(changes_nothing=False):
            response: pb.SubmitResponse
            _, response = await self._ask(SUBMIT, request, timeout_seconds, (), again=True)
            return response

    async def _ask(
        self, path: str, request: Message, timeout_seconds: float, metadata: Metadata, *, again: bool
    ) -> tuple[Any, Any]:
        """Return the call and its response; `again`: it may be sent again, to others that were found meanwhile."""
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
        """Begin a server-streaming call; what goes wrong shows when it is read."""
        if self._connecting:
            await self._settle(self._connect_wait_seconds)
        stream: Stream = self._connection.methods[route.method.path](request, metadata=metadata)
        return stream

    async def read(self, stream: Stream) -> Message | None:
        """Return the stream's next message, or None at its end. Raises ProblemError."""
        async with _problems(changes_nothing=True):
            message = await stream.read()
            return message if isinstance(message, Message) else None  # grpc.aio.EOF

    async def serving_statuses(self, timeout_seconds: float) -> dict[str, int]:
        """Return what inventory says of its own health, by name. Raises ProblemError when it cannot be asked."""
        if self._connecting:
            await self._settle(timeout_seconds)
        async with _problems(changes_nothing=True):
            response = await self._connection.health.List(health_pb2.HealthListRequest(), timeout=timeout_seconds)
            return {name: answer.status for name, answer in response.statuses.items()}


async def _close_later(former: _Connection) -> None:
    """Close it when what was under way has had its time, or at once when cancelled."""
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
    """Return the google.rpc.Status that the error carries, or one made of its code and message."""
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
    """Return the refusal for when no replica can be reached."""
    return Problem(INVENTORY_UNAVAILABLE, "No replica of the inventory can be reached.", retry_after_seconds=1.0)
