"""The settings of the edge; gateway/edge/README.md documents them."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from holdfast_chassis.identity.workload_files import AUTHORITIES, CERTIFICATE, KEY
from holdfast_chassis.listening import EVERY_ADDRESS
from holdfast_chassis.settings import CommaSeparated, ServiceSettings

_NAMED = re.compile(r"\[?([\w.:-]+?)\]?:(\d{1,5})", re.ASCII)


class Address(NamedTuple):
    """The address of a service: a DNS name whose addresses are all its replicas, or an IP address."""

    host: str
    port: int


def address_of(text: str) -> Address:
    """Read `host:port`. Raises ValueError."""
    match = _NAMED.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError(f"{text!r} is not host:port")
    return Address(match[1], int(match[2]))


def _each_an_address(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("at least one host:port is needed")
    for text in texts:
        address_of(text)
    return texts


Addresses = Annotated[CommaSeparated, AfterValidator(_each_an_address)]


class EdgeSettings(ServiceSettings):
    """The edge's settings, each with the unit at the end of its name."""

    own_prefix: ClassVar[str] = "HOLDFAST_EDGE_"

    edge_gateways: Addresses = ("gateway:8080",)
    edge_inventories: Addresses = ("inventory:50051",)

    # The directory of tls.crt, tls.key and ca.crt, which are read again when they change. With it the connections to
    # gateways and inventories have mutual TLS, and their certificates must have these DNS names.
    edge_workload_tls_dir: Path | None = None
    edge_gateway_tls_name: str = Field("gateway", min_length=1)
    edge_inventory_tls_name: str = Field("inventory", min_length=1)

    edge_host: str = EVERY_ADDRESS
    # The port of everything, for staff and backends, and that of what a buyer may do, which is all that the internet
    # should reach.
    edge_http_port: int = Field(8000, ge=1, le=65535)
    edge_shoppers_port: int = Field(8001, ge=1, le=65535)
    # The directory of tls.crt and tls.key; without it there is no TLS.
    edge_tls_dir: Path | None = None
    edge_tls_port: int = Field(8443, ge=1, le=65535)
    edge_shoppers_tls_port: int = Field(8444, ge=1, le=65535)
    edge_metrics_host: str = EVERY_ADDRESS
    edge_metrics_port: int = Field(9102, ge=1, le=65535)
    edge_admin_port: int = Field(9901, ge=1, le=65535)
    # The number of proxies in front of this one whose X-Forwarded-For is trusted.
    edge_trusted_hops: int = Field(0, ge=0)
    cors_origins: CommaSeparated = ()

    edge_threads: int = Field(2, ge=1)
    edge_connection_limit: int = Field(10_000, ge=1)
    edge_memory_limit_bytes: int = Field(536_870_912, ge=67_108_864)
    # The most concurrent requests that begin a purchase or make any other change. The same number may end a purchase,
    # and an eighth of it may read.
    edge_request_limit: int = Field(1_024, ge=16)
    edge_requests_per_second: int = Field(20_000, ge=1)
    edge_client_requests_per_second: int = Field(2_000, ge=1)
    # For one sale: requests that begin purchases, and half as many reads.
    edge_sale_requests_per_second: int = Field(10_000, ge=1)

    # After this time a connection is closed once its answer is sent, so that new edges get their share of clients.
    edge_connection_age_seconds: float = Field(600.0, gt=0)
    # How long a client may take to send its headers, and all of its request.
    edge_header_timeout_seconds: float = Field(10.0, gt=0)
    edge_request_timeout_seconds: float = Field(15.0, gt=0)

    edge_start_timeout_seconds: float = Field(30.0, gt=0)
    # A drain: the quiet time that ends it, its minimum and maximum duration, and the time for requests that are then
    # still in progress.
    edge_drain_quiet_seconds: float = Field(2.0, ge=0)
    edge_drain_min_seconds: float = Field(5.0, ge=0)
    edge_drain_max_seconds: float = Field(20.0, ge=0)
    edge_finish_seconds: float = Field(35.0, ge=0)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.edge_drain_min_seconds > self.edge_drain_max_seconds:
            raise ValueError("edge_drain_min_seconds must not be over edge_drain_max_seconds")
        _require_files("edge_tls_dir", self.edge_tls_dir, CERTIFICATE, KEY)
        _require_files("edge_workload_tls_dir", self.edge_workload_tls_dir, CERTIFICATE, KEY, AUTHORITIES)
        return self


def _require_files(setting: str, directory: Path | None, *names: str) -> None:
    missing = [name for name in names if directory is not None and not (directory / name).is_file()]
    if missing:
        raise ValueError(f"{setting}: {directory} has no {' and no '.join(missing)}")
