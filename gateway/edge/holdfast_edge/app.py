"""Starts Envoy and drains it before it ends, because on SIGTERM it closes every connection at once."""

import asyncio

from holdfast_chassis.clock import SYSTEM_CLOCK, Clock
from holdfast_chassis.drain import Arrivals
from holdfast_chassis.lifecycle import Lifecycle, Step
from holdfast_chassis.listening import authority
from holdfast_chassis.logs import get_logger
from holdfast_chassis.waiting import first_of
from holdfast_edge.configuration import render, workload_tls
from holdfast_edge.envoy import AdminError, Envoy
from holdfast_edge.settings import EdgeSettings

log = get_logger(__name__)

_LOOK_SECONDS = 0.1
# Time for a request that is still arriving on the last accepted connection.
_LINGER_SECONDS = 0.25
_MARGIN_SECONDS = 10.0
# Requests that are passed on. Envoy answers probes and scrapes itself, so a drain does not wait for them.
_ARRIVALS = ("cluster.gateways.upstream_rq_total", "cluster.inventories.upstream_rq_total")
_UNDER_WAY = ("http.edge.downstream_rq_active",)


class App:
    """The edge's parts; `lifecycle` runs them."""

    def __init__(self, settings: EdgeSettings, version: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._settings = settings
        self._arrivals = Arrivals(clock)
        workload = self._workload = workload_tls(settings)
        self._envoy = Envoy(
            render(settings, version, workload),
            settings.edge_tls_dir,
            settings.edge_threads,
            # At "info" Envoy logs a page about its build at each start.
            "warning" if settings.log_level == "info" else settings.log_level,
            settings.edge_admin_port,
        )
        self._watcher: asyncio.Task[None] | None = None
        draining = settings.edge_drain_max_seconds + settings.edge_finish_seconds + _MARGIN_SECONDS
        start = settings.edge_start_timeout_seconds
        self.lifecycle = Lifecycle(
            [
                Step("envoy", self._start, self._stop, start, _MARGIN_SECONDS * 2),
                Step("traffic", self._open, self._drain, 1.0, draining),
            ],
            clock=clock,
        )

    async def _start(self) -> None:
        try:
            await self._envoy.start()
        finally:
            if self._workload is not None:
                self._workload.close()

    async def _stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        await self._envoy.stop()

    async def _open(self) -> None:
        settings = self._settings
        for port in (settings.edge_http_port, settings.edge_shoppers_port):
            log.info("listening", address=f"http://{authority(settings.edge_host, port)}")
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await self._envoy.ended.wait()
        log.error("envoy_ended", status=self._envoy.exit_status)
        self.lifecycle.request_stop("Envoy has ended by itself", failed=True)

    async def _drain(self) -> None:
        """Become unready but serve, and close each connection after its answer; then close the listeners and finish."""
        settings, hurry = self._settings, self.lifecycle.hurry
        await self._envoy.post("/healthcheck/fail")
        counting = asyncio.create_task(self._count_arrivals())
        try:
            quiet = await self._arrivals.wait_until_quiet(
                settings.edge_drain_quiet_seconds,
                settings.edge_drain_min_seconds,
                settings.edge_drain_max_seconds,
                hurry,
            )
        finally:
            counting.cancel()
        await self._envoy.post("/drain_listeners?inboundonly")
        left = await self._finish()
        log.info("drained", quiet=quiet, in_flight=left)

    async def _count_arrivals(self) -> None:
        seen = -1
        while True:
            try:
                count = sum((await self._envoy.stats(_ARRIVALS)).values())
            except AdminError:
                count = -1  # Unknown does not count as quiet.
            if count != seen or count < 0:
                self._arrivals.record()
            seen = count
            await asyncio.sleep(_LOOK_SECONDS)

    async def _finish(self) -> int:
        """Wait until no request is in progress, with a limit. Return how many remain."""
        await first_of(self.lifecycle.hurry, timeout_seconds=_LINGER_SECONDS)
        give_up = asyncio.get_running_loop().time() + self._settings.edge_finish_seconds
        while True:
            left = sum((await self._envoy.stats(_UNDER_WAY)).values())
            if not left or self.lifecycle.hurry.is_set() or asyncio.get_running_loop().time() > give_up:
                return left
            await first_of(self.lifecycle.hurry, timeout_seconds=_LOOK_SECONDS)
