"""The gRPC server: its options, services and address."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from holdfast.inventory.v1 import reservation_service_pb2, sale_service_pb2
from holdfast_chassis.logs import get_logger
from holdfast_inventory.api.calls import Calls
from holdfast_inventory.api.reservation_service import ReservationService
from holdfast_inventory.api.sale_service import SaleService
from holdfast_inventory.transports import reflection
from holdfast_inventory.transports.health import Health

log = get_logger("holdfast.server")

RESERVATION_SERVICE = reservation_service_pb2.DESCRIPTOR.services_by_name["ReservationService"]
SALE_SERVICE = sale_service_pb2.DESCRIPTOR.services_by_name["SaleService"]
SERVICE_NAMES = (RESERVATION_SERVICE.full_name, SALE_SERVICE.full_name)
_METADATA_BYTES = 64 * 1024
_HEALTH_SERVICE = "grpc.health.v1.Health"


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Where the server listens, and the bounds of its connections. Times in seconds, sizes in bytes."""

    host: str
    port: int
    max_request_bytes: int
    max_connection_age_seconds: float
    max_connection_age_grace_seconds: float
    max_streams_per_connection: int
    max_connections: int


class Server:
    """Serves the two services, health and reflection."""

    def __init__(
        self, limits: ServerLimits, calls: Calls, reservations: ReservationService, sales: SaleService, health: Health
    ) -> None:
        self._limits = limits
        self._server = grpc.aio.server(options=_options(limits))
        self._server.add_generic_rpc_handlers(
            (
                calls.handlers(RESERVATION_SERVICE, reservations),
                calls.handlers(SALE_SERVICE, sales),
                health.handlers(),
            )
        )
        reflection.enable(self._server, (*SERVICE_NAMES, _HEALTH_SERVICE))
        self.address = ""
        """Where it listens, once it has started."""

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        limits = self._limits
        host = f"[{limits.host}]" if ":" in limits.host else limits.host
        wanted = f"{host}:{limits.port}"
        try:
            port = self._server.add_insecure_port(wanted)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {wanted}: is the port taken?") from error
        self.address = f"{host}:{port}"
        await self._server.start()
        log.info("listening", address=self.address)

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and give those under way `grace_seconds`. Stop receiving first (see `Calls.arrivals`)."""
        await self._server.stop(grace_seconds)


def _options(limits: ServerLimits) -> Sequence[tuple[str, int]]:
    return (
        # On by default, two servers would share a port without anybody noticing.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", limits.max_request_bytes),
        # Between the one and the other gRPC refuses at random, and either way without a reason. Our own limit is lower.
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
        # Our own answers are bounded by page sizes, of movements and reservations with up to 100 lines.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", limits.max_streams_per_connection),
        # More are closed at once: without a bound, memory and files would go first.
        ("grpc.max_allowed_incoming_connections", limits.max_connections),
        # Names are resolved again only on disconnect: without an age, new replicas would get no traffic.
        ("grpc.max_connection_age_ms", round(limits.max_connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", round(limits.max_connection_age_grace_seconds * 1000)),
        # Find dead peers, and let clients look for us as often, with or without calls under way.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
    )
