"""Puts the inventory service together, and starts and stops its parts in order."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.contract import (
    CUSTOMER_SERVICE,
    RESERVATION_SERVICE,
    SALE_SERVICE,
    SERVICE_NAMES,
    WEBHOOK_SERVICE,
)
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.health import Check, HealthBoard
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.certificates import CertificateFiles
from holdfast_chassis.identity.expiry import CredentialExpiries, Expiry
from holdfast_chassis.identity.step import identity_step
from holdfast_chassis.lifecycle import CannotStartError, Lifecycle, Step
from holdfast_chassis.listening import listening_address
from holdfast_chassis.logs import get_logger
from holdfast_chassis.metrics import MetricsServer, new_registry
from holdfast_chassis.rates.limiter import rate_limiter, rates_step
from holdfast_chassis.traces import new_tracer, tracing_step
from holdfast_inventory.api.access import CommandAccess
from holdfast_inventory.api.admission_tokens import AdmissionTokens
from holdfast_inventory.api.calls import CallLimits, Calls
from holdfast_inventory.api.customer_service import CustomerService
from holdfast_inventory.api.messages import webhook_body
from holdfast_inventory.api.rates import Rates
from holdfast_inventory.api.reservation_service import ReservationService
from holdfast_inventory.api.sale_service import SaleService
from holdfast_inventory.api.webhook_requests import UrlRules
from holdfast_inventory.api.webhook_service import WebhookService
from holdfast_inventory.background.erasures import Eraser
from holdfast_inventory.background.expiry import Sweeper
from holdfast_inventory.background.recurring import BackgroundWork, Recurring
from holdfast_inventory.background.refusals import RefusalLimits, RefusalNotes
from holdfast_inventory.background.schedules import Scheduler
from holdfast_inventory.background.webhooks import SenderLimits, WebhookSender
from holdfast_inventory.domain.errors import DatabaseUnavailable, OutcomeUnknown
from holdfast_inventory.metrics import (
    CallMetrics,
    FanoutMetrics,
    LedgerMetrics,
    PoolUse,
    ProcessMetrics,
    RefusalMetrics,
    StockLevels,
    WebhookMetrics,
)
from holdfast_inventory.ports import Committed, NewServer, ServerLimits
from holdfast_inventory.postgres import migrations
from holdfast_inventory.postgres.catalog import Catalog
from holdfast_inventory.postgres.database import Database, DatabaseLimits
from holdfast_inventory.postgres.erasure_store import ErasureStore
from holdfast_inventory.postgres.preconditions import require_tables
from holdfast_inventory.postgres.refusal_store import RefusalStore
from holdfast_inventory.postgres.sale_store import PostgresSaleStore
from holdfast_inventory.postgres.webhook_store import WebhookStore
from holdfast_inventory.readiness import Readiness
from holdfast_inventory.settings import InventorySettings
from holdfast_inventory.stock.batch_spans import BatchSpans
from holdfast_inventory.stock.group_commit import GroupCommitLimits
from holdfast_inventory.stock.stock_ledger import StockLedger
from holdfast_inventory.transports import health, reflection
from holdfast_inventory.transports.health import Health
from holdfast_inventory.watches.fanout import Fanout, NoFanout, StockFanout
from holdfast_inventory.watches.feed import FeedLimits, StockFeed

log = get_logger("holdfast.app")

_STEP_SECONDS = 5.0
"""The limit of steps that do not wait, and the margin of steps with their own limits."""
_MIGRATION_LOOK_SECONDS = 0.5
_PROBE_SECONDS = 2.0
_LEASE_MARGIN_SECONDS = 5.0
"""How much longer than an attempt a webhook's lease lasts: for the statements before and after it."""
_POOL_SAMPLE_SECONDS = 30.0


class SchemaOutdatedError(CannotStartError):
    """The database lacks migrations."""


class App:
    """The service's parts. `lifecycle` runs them; addresses are known once it has started."""

    def __init__(
        self,
        settings: InventorySettings,
        version: str,
        new_server: NewServer,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        self._settings = settings
        registry = new_registry()
        process = ProcessMetrics(registry, version)
        ledger_metrics = LedgerMetrics(registry)
        tracer = self._tracer = new_tracer("holdfast-inventory", version, settings.log_slow_seconds, clock, entropy)
        call_metrics = CallMetrics(registry)
        self._stock_levels = StockLevels(registry, settings.stock_metrics_limit_items)
        self._database = Database(
            settings.database_url.get_secret_value(),
            settings.limits(DatabaseLimits),
            allow_unsafe_durability=settings.allow_unsafe_durability,
            on_query=ledger_metrics.query,
            entropy=entropy,
        )
        self._ledger = StockLedger(
            PostgresSaleStore(self._database),
            settings.limits(GroupCommitLimits),
            ledger_metrics,
            self._committed,
            sold_out_seconds=settings.sold_out_memory_seconds,
            entropy=entropy,
            spans=None if tracer is None else BatchSpans(tracer),
        )
        catalog = Catalog(self._database, self._committed, entropy=entropy)
        self._feed = StockFeed(
            catalog, settings.limits(FeedLimits, lifetime=settings.watch_lifetime), clock=clock, entropy=entropy
        )
        self._fanout = self._new_fanout(FanoutMetrics(registry), clock, entropy)
        sweeper = Sweeper(
            catalog, self._ledger, ledger_metrics, interval_seconds=settings.sweep_interval_seconds, entropy=entropy
        )
        scheduler = Scheduler(catalog, interval_seconds=settings.schedule_interval_seconds, entropy=entropy)

        self._authenticator = Authenticator(settings, clock, entropy) if settings.knows_callers else None
        self._rate_limiter = rate_limiter(settings, "inventories", registry, clock, entropy)
        rates = None if self._rate_limiter is None else Rates(self._rate_limiter, settings.trusted_hops)
        calls = self._calls = Calls(
            settings.limits(CallLimits),
            call_metrics,
            clock,
            entropy,
            self._authenticator,
            settings.trusted_workloads if settings.workloads_prove_themselves else None,
            tracer,
            rates,
        )
        self._health = Health(settings.watch_lifetime, settings.watch_heartbeat_seconds, clock, entropy)
        self.metrics = MetricsServer(registry, settings.metrics_host, settings.metrics_port, self._health.answer)
        self._readiness = Readiness(
            self._health_board(clock),
            self._health,
            ("", *SERVICE_NAMES),
            process.ready.set,
            interval_seconds=settings.readiness_interval_seconds,
            entropy=entropy,
        )
        self._pool_samples = Recurring(
            "pool use", PoolUse(registry, lambda: self._database.use).sample, _POOL_SAMPLE_SECONDS, entropy
        )
        self._admission_tokens = AdmissionTokens(settings, clock, entropy)
        refusal_store = RefusalStore(self._database)
        self._refusals = RefusalNotes(
            refusal_store, settings.limits(RefusalLimits), RefusalMetrics(registry).dropped, clock, entropy
        )
        reservations = ReservationService(
            self._ledger,
            catalog,
            call_metrics.command,
            self._refusals,
            entropy,
            None if self._authenticator is None else CommandAccess(self._authenticator),
            self._admission_tokens,
            rates,
        )
        sales = SaleService(self._ledger, catalog, self._feed, refusal_store, scheduler.wake)
        erasures = ErasureStore(self._database, entropy=entropy)
        eraser = Eraser(erasures, entropy=entropy)
        customers = CustomerService(catalog, erasures, eraser.wake)
        webhook_store = WebhookStore(self._database, entropy)
        self._sender = self._new_sender(webhook_store, catalog, WebhookMetrics(registry), clock, entropy)
        webhooks = WebhookService(
            webhook_store,
            UrlRules(allow_http=settings.webhook_allow_http),
            _nothing_changed if self._sender is None else self._sender.wake,
        )
        self._background: list[BackgroundWork] = [sweeper, scheduler, eraser]
        if self._sender is not None:
            self._background.append(self._sender)
        endpoints = [
            *calls.endpoints(RESERVATION_SERVICE, reservations),
            *calls.endpoints(SALE_SERVICE, sales),
            *calls.endpoints(WEBHOOK_SERVICE, webhooks),
            *calls.endpoints(CUSTOMER_SERVICE, customers),
            *calls.probes(health.SERVICE, self._health),
        ]
        if settings.reflects:
            names = (*SERVICE_NAMES, health.SERVICE.full_name)
            reflected = calls.probes(reflection.SERVICE, reflection.Reflection(names))
            endpoints += reflection.under_both_names(reflected)
        limits = server_limits(settings)
        self._certificate = limits.certificate
        CredentialExpiries(registry, self._expiries, clock)
        self.server = new_server(limits, endpoints)
        process.watch("holdfast_calls_in_flight", "Calls in progress.", lambda: self._calls.in_flight.count)
        process.watch("holdfast_open_watches", "Open watches.", lambda: self._feed.watches)
        process.watch("holdfast_waiting_commands", "Commands that wait for a batch.", lambda: self._ledger.waiting)
        self.lifecycle = Lifecycle(self._steps(), on_phase=process.phase, clock=clock)

    def _steps(self) -> list[Step]:
        """Return the steps. They stop in reverse: accept no more calls, end calls in progress, metrics last."""
        settings = self._settings
        short = _STEP_SECONDS
        database = settings.database_wait_seconds + short
        batches = settings.database_transaction_seconds + short
        return [
            *tracing_step(self._tracer),
            Step("metrics", self.metrics.start, self.metrics.stop, short, short),
            identity_step(settings, settings.grpc_host, self._authenticator, self._certificate),
            Step("admission tokens", self._admission_tokens.start, self._admission_tokens.stop, 2 * short, short),
            rates_step(self._rate_limiter),
            Step("database", self._open_database, self._database.close, database, 2 * short),
            Step("schema", self._check_schema, _nothing, 2 * database, short),
            Step("redis", self._fanout.start, self._fanout.stop, short, short),
            Step("stock ledger", self._refusals.start, self._stop_ledger, short, batches),
            Step("background work", self._start_background, self._stop_background, short, 2 * short),
            Step("server", self.server.start, self._stop_server, short, 2 * settings.drain_grace_seconds + short),
            Step("watches", _nothing, self._end_watches, short, short),
            Step("traffic", self._readiness.open, self._drain, short, settings.drain_max_seconds + short),
        ]

    # Starting

    async def _open_database(self) -> None:
        await self._database.open(self._settings.database_wait_seconds)
        await self._pool_samples.start()

    async def _check_schema(self) -> None:
        """Migrate if that is configured, else wait for migrations. Raises SchemaOutdatedError if none are made."""
        settings = self._settings
        if settings.migrate_on_start:
            url = settings.database_url.get_secret_value()
            await migrations.migrate(url, patience_seconds=settings.database_wait_seconds)
        deadline = asyncio.get_running_loop().time() + settings.database_wait_seconds
        told = False
        while missing := await self._missing_migrations(deadline):
            if asyncio.get_running_loop().time() >= deadline:
                raise SchemaOutdatedError(f"the database lacks {missing}: run `holdfast-inventory migrate`")
            if not told:
                log.warning("waiting for migrations: run `holdfast-inventory migrate`", missing=missing)
            told = True
            await asyncio.sleep(_MIGRATION_LOOK_SECONDS)

    async def _missing_migrations(self, deadline: float) -> str:
        """Return the missing migrations. Retry if the database fails meanwhile. Raises UnusableDatabaseError."""
        while True:
            try:
                async with self._database.writing() as connection:
                    missing = await migrations.pending(connection)
                    if not missing:
                        await require_tables(connection)
                    return ", ".join(map(str, missing))
            except (DatabaseUnavailable, OutcomeUnknown):
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(_MIGRATION_LOOK_SECONDS)

    async def _start_background(self) -> None:
        for work in self._background:
            await work.start()

    # Stopping

    async def _stop_background(self) -> None:
        """Stop all at once: none depends on another, and the time that a stop may take must not grow with each."""
        await asyncio.gather(*(work.stop() for work in self._background))

    async def _drain(self) -> None:
        """Become unready, and serve calls until no more arrive."""
        settings = self._settings
        await self._readiness.close()
        quiet = await self._calls.arrivals.wait_until_quiet(
            settings.drain_quiet_seconds,
            settings.drain_min_seconds,
            settings.drain_max_seconds,
            self.lifecycle.hurry,
        )
        log.info("drained", quiet=quiet, in_flight=self._calls.in_flight.count)

    async def _end_watches(self) -> None:
        self._health.end_watches()
        await self._feed.end_watches()

    async def _stop_server(self) -> None:
        grace_seconds = 0.0 if self.lifecycle.hurry.is_set() else self._settings.drain_grace_seconds
        await self.server.stop(grace_seconds)
        # A transport may return before its handlers have ended.
        await self._calls.in_flight.wait_until_empty(self._settings.drain_grace_seconds, self.lifecycle.hurry)

    async def _stop_ledger(self) -> None:
        await self._ledger.stop(self._settings.database_transaction_seconds)
        await self._refusals.stop()
        await self._pool_samples.stop()

    # In between

    def _expiries(self) -> Iterator[Expiry]:
        for source in (self._authenticator, self._certificate):
            if source is not None:
                yield from source.expiries()

    def _committed(self, change: Committed) -> None:
        self._feed.on_committed(change)
        self._fanout.publish(change)
        self._stock_levels.on_committed(change)
        if self._sender is not None:
            self._sender.on_committed(change)

    def _changed_elsewhere(self, sale_id: str, sequence: int) -> None:
        self._ledger.changed_elsewhere(sale_id)
        self._feed.nudge(sale_id, sequence)

    def _new_fanout(self, metrics: FanoutMetrics, clock: Clock, entropy: Entropy) -> Fanout:
        settings = self._settings
        if settings.redis_url is None:
            return NoFanout()
        return StockFanout(
            settings.redis_url.get_secret_value(),
            self._changed_elsewhere,
            metrics,
            channel_prefix=settings.redis_channel_prefix,
            clock=clock,
            entropy=entropy,
        )

    def _new_sender(
        self, store: WebhookStore, catalog: Catalog, metrics: WebhookMetrics, clock: Clock, entropy: Entropy
    ) -> WebhookSender | None:
        settings = self._settings
        if not settings.webhooks:
            return None
        # Its HTTP client would take a noticeable part of the start of processes that send nothing.
        from holdfast_inventory.background.webhook_client import ClientLimits, WebhookClient  # noqa: PLC0415

        limits = ClientLimits(settings.webhook_timeout_seconds, allowed_networks=settings.allowed_networks)
        lease = timedelta(seconds=settings.webhook_timeout_seconds + _LEASE_MARGIN_SECONDS)
        return WebhookSender(
            store,
            catalog.list_movements,
            WebhookClient(limits),
            webhook_body,
            metrics,
            SenderLimits(lease=lease),
            clock=clock,
            entropy=entropy,
        )

    def _health_board(self, clock: Clock) -> HealthBoard:
        checks = [Check("database", self._database.ping, _PROBE_SECONDS)]
        if self._settings.redis_url is not None:
            checks.append(Check("redis", self._fanout.ping, _PROBE_SECONDS, critical=False))
        return HealthBoard(checks, clock, fresh_seconds=0.0)


def _nothing_changed() -> None:
    """Do nothing: this process sends no webhooks."""


async def _nothing() -> None:
    """Do nothing: some parts need no start or no stop."""


def server_limits(settings: InventorySettings) -> ServerLimits:
    """Return the address and the limits of the server."""
    directory = settings.grpc_tls_dir
    return settings.limits(
        ServerLimits,
        host=listening_address(settings.grpc_host),
        port=settings.grpc_port,
        plain_port=settings.grpc_plain_port,
        certificate=None if directory is None else CertificateFiles(directory, "grpc"),
    )
