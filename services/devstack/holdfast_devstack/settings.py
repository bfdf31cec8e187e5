"""The settings of `holdfast up`; .env.example documents them."""

from pathlib import Path

from pydantic import Field

from holdfast_chassis.redis_url import RedisUrlSetting
from holdfast_chassis.settings import ServiceSettings
from holdfast_devstack.ports import LOOPBACK
from holdfast_edge.settings import EdgeSettings
from holdfast_gateway.settings import GatewaySettings
from holdfast_inventory.settings import DatabaseUrlSetting, InventorySettings, Transport


class DevstackSettings(ServiceSettings):
    """The settings of `holdfast up`. Settings of the services are passed on to them."""

    # If set, these servers are used instead of embedded ones.
    database_url: DatabaseUrlSetting | None = None
    redis_url: RedisUrlSetting | None = None
    database_wait_seconds: float = Field(60.0, gt=0)

    transport: Transport = "grpc_aio"
    data_dir: Path = Path(".holdfast")
    postgres_port: int = Field(55432, ge=1, le=65535)
    valkey_port: int = Field(56379, ge=1, le=65535)
    prometheus_port: int = Field(9090, ge=1, le=65535)

    # They should only be reachable from this machine.
    http_host: str = LOOPBACK
    grpc_host: str = LOOPBACK
    metrics_host: str = LOOPBACK
    edge_host: str = LOOPBACK
    edge_metrics_host: str = LOOPBACK
    http_port: int = Field(8080, ge=1, le=65535)
    grpc_port: int = Field(50051, ge=1, le=65535)
    metrics_port: int = Field(9100, ge=1, le=65535)
    gateway_metrics_port: int = Field(9101, ge=1, le=65535)

    edge_http_port: int = Field(8000, ge=1, le=65535)
    edge_shoppers_port: int = Field(8001, ge=1, le=65535)
    edge_metrics_port: int = Field(9102, ge=1, le=65535)
    edge_admin_port: int = Field(9901, ge=1, le=65535)

    # There is no load balancer that has to notice a drain, so a stop need not wait.
    drain_quiet_seconds: float = Field(0.5, ge=0)
    drain_min_seconds: float = Field(0.5, ge=0)
    edge_drain_quiet_seconds: float = Field(0.5, ge=0)
    edge_drain_min_seconds: float = Field(0.5, ge=0)
    start_timeout_seconds: float = Field(60.0, gt=0)


SHARED_NAMES = DevstackSettings.model_fields.keys() & {
    *InventorySettings.model_fields,
    *GatewaySettings.model_fields,
    *EdgeSettings.model_fields,
}
"""Fields that a service also has, and gets from the runner."""
