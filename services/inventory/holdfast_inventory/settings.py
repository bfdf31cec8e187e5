"""The settings of the inventory service; .env.example documents them."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from holdfast_chassis.identity.settings import IdentitySettings, require_readable
from holdfast_chassis.listening import EVERY_ADDRESS
from holdfast_chassis.rates.settings import RateSettings
from holdfast_chassis.settings import CommaSeparated, limit
from holdfast_inventory.api.calls import CallLimits
from holdfast_inventory.background.refusals import RefusalLimits
from holdfast_inventory.ports import ServerLimits
from holdfast_inventory.postgres.database import DatabaseLimits
from holdfast_inventory.postgres.database_url import parse_database_url
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.watches.feed import FeedLimits
from holdfast_inventory.watches.lifetime import Lifetime, lifetime_within


def _usable(url: SecretStr) -> SecretStr:
    parse_database_url(url.get_secret_value())
    return url


DatabaseUrlSetting = Annotated[SecretStr, AfterValidator(_usable)]


Transport = Literal["auto", "envoy", "grpc_aio"]


class InventorySettings(RateSettings, IdentitySettings):
    """The inventory's settings, each with its unit at the end of its name."""

    traces_by_sdk: ClassVar[bool] = True

    database_url: DatabaseUrlSetting = Field(description="The PostgreSQL database, 14 or later.")
    admission_jwks: str | None = Field(
        None,
        description="The public keys of admission tokens: a file, or a URL (https, or http on this machine). Without "
        "them, sales that require admission admit no customer.",
    )
    admission_limit_seconds: float = Field(
        900.0, ge=1, description="The longest that an admission token may be valid from its first use."
    )

    transport: Transport = Field(
        "grpc_aio",
        description="The gRPC server: Envoy with this service inside, or grpc.aio. Envoy needs the extra `envoy` and "
        "Python as a shared library (Debian: libpython3.11); auto: grpc.aio where one is missing.",
    )
    grpc_host: str = Field(EVERY_ADDRESS, description="The address to serve gRPC on.")
    grpc_port: int = Field(50051, ge=0, le=65535, description="The port to serve gRPC on. 0: any free port.")
    grpc_tls_dir: Path | None = Field(
        None,
        description="The directory of `tls.crt`, `tls.key` and `ca.crt`, which are read again when they change. With "
        "it gRPC is served with TLS, and only to clients with a certificate of an authority in `ca.crt`.",
    )
    grpc_plain_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="With `grpc_tls_dir`: another port, without TLS, until all clients use TLS. While it is set, "
        "anyone who reaches it may speak for other callers.",
    )
    trusted_workloads: CommaSeparated = Field(
        ("gateway",),
        description="With TLS: the DNS names in the certificates of those that may speak for other callers, the "
        "gateways.",
    )
    metrics_host: str = Field(EVERY_ADDRESS, description="The address to serve metrics on.")
    metrics_port: int = Field(9100, ge=0, le=65535, description="The port to serve metrics on. 0: any free port.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="The format of logs; auto: readable on a terminal, otherwise JSON."
    )
    log_calls_per_second: int = limit(
        (CallLimits, "log_per_second"),
        ge=0,
        description="The most calls per second that are logged although they neither failed nor were slow.",
    )
    log_slow_seconds: float = limit(
        (CallLimits, "log_slow_seconds"),
        ge=0,
        description="A call that takes this long is always logged. 0: every call.",
    )

    reflection: bool | None = Field(
        None, description="Whether to serve gRPC's reflection. Not set: where callers need no credential."
    )

    migrate_on_start: bool = Field(False, description="Whether `serve` migrates the schema before it serves.")
    allow_unsafe_durability: bool = Field(
        False,
        description="Whether to serve on a PostgreSQL with fsync or synchronous_commit off. Gives up the promise that "
        "what was acknowledged survives a crash.",
    )
    database_wait_seconds: float = Field(
        60.0, gt=0, description="How long to wait at the start for a database that starts late."
    )
    database_writers: int = limit(
        (DatabaseLimits, "writers"),
        ge=1,
        le=100,
        description="Connections that write: the number of sales that can commit at the same time.",
    )
    database_readers: int = limit((DatabaseLimits, "readers"), ge=1, le=100, description="Connections that read.")
    database_acquire_seconds: float = limit(
        (DatabaseLimits, "acquire_seconds"),
        gt=0,
        description="How long to wait for a free connection before DATABASE_UNAVAILABLE.",
    )
    database_read_seconds: float = limit(
        (DatabaseLimits, "read_seconds"), gt=0, description="The longest time that a read may take."
    )
    database_transaction_seconds: float = limit(
        (DatabaseLimits, "transaction_seconds"),
        gt=0,
        description="The longest time that a transaction may take before its connection is closed.",
    )

    batch_limit_commands: int = limit(
        (GroupCommitLimits, "batch_commands"), ge=1, le=1000, description="The most commands in one transaction."
    )
    queue_wait_limit_seconds: float = limit(
        (GroupCommitLimits, "queue_seconds"),
        gt=0,
        description="A command with a longer expected wait is refused as OVERLOADED.",
    )
    queue_limit_commands: int = limit(
        (GroupCommitLimits, "queue_commands"),
        ge=1,
        description="The most commands that may wait; one sale may use as many as it leaves free.",
    )
    sold_out_memory_seconds: float = Field(
        0.2, ge=0, le=0.2, description="The maximum age of remembered stock from which a hold may be refused."
    )

    call_limit: int = limit(
        (CallLimits, "in_flight"),
        ge=1,
        description="The most calls in progress; reads may use half, calls that begin a purchase four fifths.",
    )
    call_default_seconds: float = limit(
        (CallLimits, "default_seconds"), gt=0, description="How long a call without a deadline may take."
    )
    call_limit_seconds: float = limit(
        (CallLimits, "max_seconds"), gt=0, description="The longest deadline of a caller that is respected."
    )
    request_limit_bytes: int = limit((ServerLimits, "max_request_bytes"), ge=1024, description="The largest request.")
    connection_limit: int = limit(
        (ServerLimits, "max_connections"), ge=1, description="The most connections; more are closed at once."
    )
    connection_streams_limit: int = limit(
        (ServerLimits, "max_streams_per_connection"), ge=1, description="The most calls in progress on one connection."
    )
    connection_age_seconds: float = limit(
        (ServerLimits, "max_connection_age_seconds"),
        gt=0,
        description="After this time a client is asked to reconnect, so that it finds new replicas.",
    )
    connection_age_grace_seconds: float = limit(
        (ServerLimits, "max_connection_age_grace_seconds"),
        gt=0,
        description="How long calls on such a connection may continue. Watches end by themselves before: they last as "
        "long as a connection, but at most nine tenths of this less a heartbeat and a reader's time for an event.",
    )
    watch_limit: int = limit((FeedLimits, "max_watches"), ge=1, description="The most watches.")
    watch_heartbeat_seconds: float = limit(
        (FeedLimits, "heartbeat_seconds"), gt=0, description="The interval of heartbeats on a quiet watch."
    )
    watch_reader_seconds: float = limit(
        (FeedLimits, "reader_seconds"),
        (CallLimits, "write_seconds"),
        gt=0,
        description="How long a watch's reader may take to accept one event before the watch ends.",
    )

    sweep_interval_seconds: float = Field(1.0, gt=0, description="The interval at which due holds are searched.")
    schedule_interval_seconds: float = Field(
        2.0, gt=0, description="The interval at which schedules are checked for sales to create."
    )
    webhooks: bool = Field(False, description="Whether this process sends webhooks. Any number may.")
    webhook_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="How long a receiver of a webhook may take to answer."
    )
    webhook_allowed_networks: CommaSeparated = Field(
        (),
        description="The networks, such as 10.1.2.0/24, to which webhooks are sent although their addresses are not "
        "public.",
    )
    webhook_allow_http: bool = Field(
        False, description="Whether webhooks may have http URLs: what they send can then be read on its way."
    )
    refusal_flush_seconds: float = limit(
        (RefusalLimits, "flush_seconds"),
        gt=0,
        description="The interval at which counts of refusals are written. A process that is killed loses those since.",
    )
    refusal_retention_days: float = limit(
        (RefusalLimits, "kept_days"), gt=0, description="How long counts of refusals are kept for reports."
    )
    customer_refusal_retention_hours: float = limit(
        (RefusalLimits, "customers_kept_hours"),
        ge=0,
        description="How long it is kept why a customer was refused, for support. 0: it is not kept.",
    )
    readiness_interval_seconds: float = Field(
        1.0, gt=0, description="The interval of the check of PostgreSQL on which readiness depends."
    )
    stock_metrics_limit_items: int = Field(1_000, ge=0, description="The most items whose stock is in the metrics.")

    drain_quiet_seconds: float = Field(
        2.0, ge=0, description="On SIGTERM, calls are served until none has arrived for this time."
    )
    drain_min_seconds: float = Field(3.0, ge=0, description="They are served at least this long.")
    drain_max_seconds: float = Field(20.0, ge=0, description="They are served at most this long.")
    drain_grace_seconds: float = Field(
        10.0, ge=0, description="Then, how long calls in progress may take before they are cut off."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.drain_min_seconds > self.drain_max_seconds:
            raise ValueError("drain_min_seconds must not be over drain_max_seconds")
        if self.call_default_seconds > self.call_limit_seconds:
            raise ValueError("call_default_seconds must not be over call_limit_seconds")
        if self.grpc_plain_port is not None and self.grpc_tls_dir is None:
            raise ValueError("grpc_plain_port needs grpc_tls_dir: without it grpc_port has no TLS")
        _ = self.watch_lifetime
        _ = self.allowed_networks
        require_readable("admission_jwks", self.admission_jwks)
        return self

    @property
    def workloads_prove_themselves(self) -> bool:
        """Whether every client has shown a certificate."""
        return self.grpc_tls_dir is not None and self.grpc_plain_port is None

    @property
    def reflects(self) -> bool:
        """Whether reflection is served."""
        return not self.knows_callers if self.reflection is None else self.reflection

    @property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks to which webhooks are sent although they are not public. Raises ValueError."""
        return tuple(map(ip_network, self.webhook_allowed_networks))

    @property
    def watch_lifetime(self) -> Lifetime:
        """The lifetime of watches: they end before their connection does."""
        return lifetime_within(
            self.connection_age_seconds,
            self.connection_age_grace_seconds,
            heartbeat_seconds=self.watch_heartbeat_seconds,
            write_seconds=self.watch_reader_seconds,
        )
