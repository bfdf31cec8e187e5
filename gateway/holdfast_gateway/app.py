"""Puts the gateway together, and starts and stops its parts in order."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from holdfast_chassis.alarms import Alarms
from holdfast_chassis.call_log import CallLog
from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.contract import SERVICES
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy
from holdfast_chassis.identity.authenticator import Authenticator
from holdfast_chassis.identity.certificates import CertificateFiles
from holdfast_chassis.identity.expiry import CredentialExpiries, Expiry
from holdfast_chassis.identity.step import identity_step
from holdfast_chassis.lifecycle import Lifecycle, Step
from holdfast_chassis.logs import get_logger
from holdfast_chassis.metrics import MetricsServer, new_registry
from holdfast_chassis.rates.limiter import rate_limiter, rates_step
from holdfast_chassis.traces import new_tracer, tracing_step
from holdfast_gateway.api import Api
from holdfast_gateway.coalescer import Coalescer, Limits
from holdfast_gateway.cors import Cors
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.health import Health
from holdfast_gateway.http_server import HttpLimits, HttpServer
from holdfast_gateway.inventory_client import InventoryClient, InventoryTls
from holdfast_gateway.metrics import HttpMetrics, PhaseMetric, SubmitMetrics
from holdfast_gateway.pages import pages_of
from holdfast_gateway.rates import Rates
from holdfast_gateway.routes import routes_of
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.submit_spans import SubmitSpans

log = get_logger(__name__)

# More than any request may take, so that its own limit ends it.
_MARGIN_SECONDS = 5.0


class App:
    """The gateway's parts. `lifecycle` runs them; the ports are known once it has started."""

    def __init__(
        self,
        settings: GatewaySettings,
        version: str,
        clock: Clock = SYSTEM_CLOCK,
        entropy: Entropy = SYSTEM_ENTROPY,
    ) -> None:
        registry = new_registry()
        routes = routes_of(SERVICES)
        cors = Cors(settings.cors_origins)
        self._settings = settings
        self._phase = PhaseMetric(registry)
        own = _certificate(settings.inventory_tls_dir, "inventory")
        self._certificates = (_certificate(settings.http_tls_dir, "http"), own)
        tls = None if own is None else InventoryTls(own, settings.inventory_tls_name)
        self.inventory = InventoryClient(
            settings.inventory_target,
            routes,
            settings.connect_wait_seconds,
            tls,
            counts_rates=settings.rate_limit_requests > 0,
        )
        self._health = Health(self.inventory, version, clock)
        limits = Limits(
            settings.submit_limit_commands,
            settings.submit_limit_bytes,
            settings.submit_concurrency,
            settings.submit_queue_limit,
        )
        alarms = Alarms()
        tracer = self._tracer = new_tracer("holdfast-gateway", version, settings.log_slow_seconds, clock, entropy)
        spans = None if tracer is None else SubmitSpans(tracer)
        coalescer = Coalescer(self.inventory, limits, SubmitMetrics.make(registry), alarms, clock, spans)
        self._authenticator = Authenticator(settings, clock, entropy) if settings.knows_callers else None
        self._rate_limiter = rate_limiter(settings, "gateways", registry, clock, entropy)
        rates = None if self._rate_limiter is None else Rates(self._rate_limiter)
        self._api = Api(routes, self.inventory, coalescer, cors, settings, alarms, entropy, self._authenticator, rates)
        pages = pages_of(self._health, registry, routes, version, settings)
        call_log = CallLog(settings.log_calls_per_second, settings.log_slow_seconds)
        self._gateway = Gateway(
            self._api,
            pages,
            cors,
            HttpMetrics(registry),
            version,
            call_log,
            settings.header_limit_bytes,
            clock,
            entropy,
            tracer,
        )
        self.http = HttpServer(
            self._gateway, settings.http_host, settings.http_port, _http_limits(settings), self._certificates[0]
        )
        self._servers = [self.http]
        if settings.http_plain_port is not None:
            self._servers.append(
                HttpServer(self._gateway, settings.http_host, settings.http_plain_port, _http_limits(settings))
            )
        CredentialExpiries(registry, self._expiries, clock)
        self.metrics = MetricsServer(
            registry, settings.metrics_host, settings.gateway_metrics_port, self._health.answer
        )
        self.lifecycle = Lifecycle(self._steps(), on_phase=self._phase.enter, clock=clock)

    def _steps(self) -> list[Step]:
        settings = self._settings
        answering = settings.request_timeout_max_seconds + settings.body_timeout_seconds + _MARGIN_SECONDS
        return [
            *tracing_step(self._tracer),
            Step("metrics", self.metrics.start, self.metrics.stop, _MARGIN_SECONDS, _MARGIN_SECONDS),
            identity_step(settings, settings.http_host, self._authenticator, *self._certificates),
            rates_step(self._rate_limiter),
            Step("inventory channel", self.inventory.start, self.inventory.stop, _MARGIN_SECONDS, _MARGIN_SECONDS),
            Step("http server", self._serve, self._stop_serving, _MARGIN_SECONDS, answering),
            Step("traffic", self._open, self._drain, _MARGIN_SECONDS, settings.drain_max_seconds + _MARGIN_SECONDS),
        ]

    def _expiries(self) -> Iterator[Expiry]:
        for source in (self._authenticator, *self._certificates):
            if source is not None:
                yield from source.expiries()

    async def _serve(self) -> None:
        for server in self._servers:
            await server.start()

    async def _stop_serving(self) -> None:
        await asyncio.gather(*(server.stop() for server in self._servers))

    async def _open(self) -> None:
        self._health.started = True

    async def _drain(self) -> None:
        """Become unready, and serve requests until no more arrive."""
        settings = self._settings
        self._health.draining = True
        self._phase.draining.set(1)
        self._gateway.begin_draining()
        quiet = await self._gateway.arrivals.wait_until_quiet(
            settings.drain_quiet_seconds,
            settings.drain_min_seconds,
            settings.drain_max_seconds,
            self.lifecycle.hurry,
        )
        log.info("drained", quiet=quiet, in_flight=self._gateway.in_flight.count)
        await asyncio.gather(*(server.stop_accepting() for server in self._servers))
        self._api.streams_ending.set()


def _certificate(directory: Path | None, name: str) -> CertificateFiles | None:
    return None if directory is None else CertificateFiles(directory, name)


def _http_limits(settings: GatewaySettings) -> HttpLimits:
    return HttpLimits(
        settings.connection_limit,
        settings.header_limit_bytes,
        settings.header_timeout_seconds,
        settings.stalled_client_seconds,
    )
