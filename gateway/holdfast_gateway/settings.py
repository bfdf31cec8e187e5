"""The settings of the gateway; .env.example documents them."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from holdfast_chassis.identity.settings import IdentitySettings
from holdfast_chassis.listening import EVERY_ADDRESS
from holdfast_chassis.rates.settings import RateSettings
from holdfast_chassis.settings import CommaSeparated


class GatewaySettings(RateSettings, IdentitySettings):
    """The gateway's settings, each with the unit at the end of its name."""

    traces_by_sdk: ClassVar[bool] = True

    http_host: str = EVERY_ADDRESS
    http_port: int = Field(8080, ge=0, le=65535)
    metrics_host: str = EVERY_ADDRESS
    gateway_metrics_port: int = Field(9101, ge=0, le=65535)
    # The directory of tls.crt, tls.key and ca.crt, which are read again when they change. With it REST is served with
    # TLS 1.3, and only to clients with a certificate of an authority in ca.crt.
    http_tls_dir: Path | None = None
    # With it: another port, without TLS, until all clients use TLS.
    http_plain_port: int | None = Field(None, ge=1, le=65535)
    inventory_target: str = "dns:///localhost:50051"
    # The same for connections to the inventory, and the DNS name that its certificate must have.
    inventory_tls_dir: Path | None = None
    inventory_tls_name: str = Field("inventory", min_length=1)

    # /docs and /openapi.json. Not set: where callers need no credential.
    docs: bool | None = None

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"
    # Each request that failed (5xx) or took this long is logged, and this many per second of the others.
    log_calls_per_second: int = Field(50, ge=0)
    log_slow_seconds: float = Field(1.0, ge=0)

    # The default and the maximum of a caller's timeout.
    request_timeout_seconds: float = Field(5.0, gt=0)
    request_timeout_max_seconds: float = Field(30.0, gt=0)
    # How long a call may wait for the first connection to the inventory before it is refused.
    connect_wait_seconds: float = Field(1.0, gt=0)

    # The most concurrent requests, without streams: reads may use half of them, requests that begin a purchase four
    # fifths, requests that end one all.
    call_limit: int = Field(2_000, ge=1)
    connection_limit: int = Field(4096, ge=1)
    header_limit_bytes: int = Field(16_384, ge=8192)
    header_timeout_seconds: float = Field(10.0, gt=0)
    body_limit_bytes: int = Field(1_048_576, ge=1024)
    body_timeout_seconds: float = Field(10.0, gt=0)
    # A client that acknowledges nothing for this long is disconnected.
    stalled_client_seconds: float = Field(30.0, gt=0)
    cors_origins: CommaSeparated = ()

    # Calls of one sale are combined: the most commands in one Submit, the most Submits in progress, and the most
    # waiting calls. One sale may use as many of these as it leaves free.
    submit_limit_commands: int = Field(256, ge=1, le=1000)
    submit_limit_bytes: int = Field(1_048_576, ge=1024)
    submit_concurrency: int = Field(2, ge=1)
    submit_queue_limit: int = Field(10_000, ge=1)

    stream_heartbeat_seconds: float = Field(15.0, gt=0)
    stream_retry_seconds: float = Field(1.0, ge=0)
    # A stream ends after this size, and the client resumes: this limits the memory for a slow reader.
    stream_limit_bytes: int = Field(8_388_608, ge=65_536)

    drain_quiet_seconds: float = Field(2.0, ge=0)
    drain_min_seconds: float = Field(5.0, ge=0)
    drain_max_seconds: float = Field(20.0, ge=0)

    @property
    def documents(self) -> bool:
        """Whether the pages that describe the API are shown."""
        return not self.knows_callers if self.docs is None else self.docs

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.request_timeout_seconds > self.request_timeout_max_seconds:
            raise ValueError("request_timeout_seconds must not be over request_timeout_max_seconds")
        if self.drain_min_seconds > self.drain_max_seconds:
            raise ValueError("drain_min_seconds must not be over drain_max_seconds")
        if self.http_plain_port is not None and self.http_tls_dir is None:
            raise ValueError("http_plain_port needs http_tls_dir: without it http_port has no TLS")
        if "*" in self.cors_origins:
            raise ValueError("cors_origins must be exact origins, such as https://shop.example")
        return self
