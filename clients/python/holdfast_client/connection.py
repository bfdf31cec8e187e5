"""What the channels of both clients have in common."""

import json
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import Message

from holdfast_chassis.contract import METHODS, RESERVATION_SERVICE, Kind, Method
from holdfast_chassis.direct import CHANNEL_OPTIONS
from holdfast_chassis.entropy import Entropy
from holdfast_chassis.version import deployment_version
from holdfast_client.retries import Metadata

Credential = str | Callable[[], str] | None
"""An API key or a token, or a function that returns the present one and is called for each attempt."""

METHOD_OF: Final = {method.request: method for method in METHODS}
"""The methods, by the full names of their requests."""

SILENCE_SECONDS: Final = 30.0
"""A watch sends a heartbeat every 10 s. After this time without one its connection is considered dead."""

_BALANCING: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # Replicas that drain, or that have lost the database, get no new calls.
    "healthCheckConfig": {"serviceName": RESERVATION_SERVICE.full_name},
}
_LARGE_BYTES: Final = 16 * 1024 * 1024


def options() -> list[tuple[str, Any]]:
    """Return the arguments of a channel. Attempts are this package's own, except those that no server has seen."""
    return [
        *CHANNEL_OPTIONS,
        ("grpc.service_config", json.dumps(_BALANCING)),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.primary_user_agent", f"holdfast-client-python/{deployment_version()}"),
        # A frozen replica is noticed in 20 s.
        ("grpc.keepalive_time_ms", 15_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
        ("grpc.max_receive_message_length", _LARGE_BYTES),
        ("grpc.max_send_message_length", _LARGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),
    ]


def metadata(credential: Credential) -> Metadata:
    """Return what authenticates a call."""
    current = credential() if callable(credential) else credential
    return () if current is None else (("authorization", f"Bearer {current}"),)


def with_request_ids(request: Message, entropy: Entropy) -> None:
    """Give a request, and each command in it, an id if it can have one and has none: it is then executed once."""
    fields = request.DESCRIPTOR.fields_by_name
    if "request_id" in fields and not getattr(request, "request_id"):  # noqa: B009 - any request
        setattr(request, "request_id", entropy.uuid4().hex)  # noqa: B010
    for command in getattr(request, "commands", ()):
        if command.HasField("create"):
            with_request_ids(command.create, entropy)


def entries_field(response: type[Message]) -> str:
    """Return the field of a page that has its entries."""
    [name] = [field.name for field in response.DESCRIPTOR.fields if field.is_repeated]
    return name


def is_news(event: Message) -> bool:
    """Return whether an event of a watch says more than that the watch is alive."""
    return any(field.name not in ("resume_token", "heartbeat") for field, _ in event.ListFields())


def method_of(request: type[Message]) -> Method:
    """Return the method that takes these requests."""
    return METHOD_OF[request.DESCRIPTOR.full_name]


class Stubs:
    """The stubs of a channel, of either kind, each made when it is needed."""

    def __init__(self, channel: Any) -> None:  # noqa: ANN401 - grpc's, with or without asyncio
        self._channel = channel
        self._known: dict[str, Any] = {}

    def of(self, method: Method, response: type[Message]) -> Any:  # noqa: ANN401 - grpc's
        """Return the stub of a method with these responses."""
        stub = self._known.get(method.path)
        if stub is None:
            make = self._channel.unary_stream if method.kind is Kind.WATCH else self._channel.unary_unary
            stub = self._known[method.path] = make(
                method.path,
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=response.FromString,
            )
        return stub
