"""Metrics and health on a separate port, which answers until the end of a drain and needs no credential."""

import asyncio
import socket
import sys
import threading
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus
from itertools import accumulate
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from holdfast_chassis.listening import authority, listening_address, take_ipv4_too
from holdfast_chassis.logs import get_logger

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = get_logger(__name__)

HealthAnswer = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Returns the status and the body for a path of `HEALTH_PATHS`."""
HEALTH_PATHS = ("/health/live", "/health/startup", "/health/ready")
# Probes wait for about three seconds.
_HEALTH_SECONDS = 2.5


def new_registry() -> CollectorRegistry:
    """Return a registry with the metrics of the process (process_*) and the interpreter (python_*)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class UnlockedHistogram:
    """A histogram without a lock. One thread may observe values, any thread may read it."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: dict[int, tuple[float, str]] = {}
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Observe a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def exemplify(self, value: float, trace_id: str) -> None:
        """Remember the trace of a value that was observed, for the format that has exemplars (OpenMetrics)."""
        self._exemplars[bisect_left(self._bounds, value)] = value, trace_id

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Add the observed values to a metric."""
        bounds = (*map(floatToGoString, self._bounds), "+Inf")
        exemplars = dict(self._exemplars)
        buckets = [
            (bound, count, _exemplar(*exemplars[at])) if at in exemplars else (bound, count)
            for at, (bound, count) in enumerate(zip(bounds, accumulate(self._counts), strict=True))
        ]
        family.add_metric(labels, buckets, self._sum)


def _exemplar(value: float, trace_id: str) -> Exemplar:
    return Exemplar({"trace_id": trace_id}, value)


class MetricsServer:
    """A server of a registry at /metrics, and of health. It has its own threads, so a scrape never waits for the event
    loop.

    Collectors are therefore called in another thread. Health is asked for in the event loop: a process whose loop does
    not answer is not alive. Port 0 means any free port; see `bound_port`.
    """

    def __init__(self, registry: CollectorRegistry, host: str, port: int, health: HealthAnswer) -> None:
        self._metrics = make_wsgi_app(registry)
        self._health = health
        self._event_loop: asyncio.AbstractEventLoop
        self._host = listening_address(host)
        self._port = port
        self._server: WSGIServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def bound_port(self) -> int:
        """The port on which it listens. Raises RuntimeError if it is not running."""
        if self._server is None:
            raise RuntimeError("the metrics server does not run")
        return self._server.server_port

    async def start(self) -> None:
        """Listen. Raises OSError, for example when the port is taken."""
        self._event_loop = asyncio.get_running_loop()
        family = _ServerV6 if ":" in self._host else _Server
        # In a thread, because the standard server looks up its own name in the DNS, which may take long.
        self._server = await asyncio.to_thread(
            make_server, self._host, self._port, self._answer, family, handler_class=_Handler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics listening", address=authority(self._host, self.bound_port))

    async def stop(self) -> None:
        """Stop listening. Has no effect if it is not running."""
        server, self._server = self._server, None
        if server is not None and self._thread is not None:
            await asyncio.to_thread(server.shutdown)
            await asyncio.to_thread(self._thread.join)
            server.server_close()

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            page: Iterable[bytes] = self._metrics(environ, start_response)
            return page
        status, body = self._ask(path) if path in HEALTH_PATHS else (404, b"There are /metrics and /health/ready.\n")
        start_response(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "text/plain")])
        return [body]

    def _ask(self, path: str) -> tuple[int, bytes]:
        async def ask() -> tuple[int, bytes]:
            return await self._health(path)

        asked = asyncio.run_coroutine_threadsafe(ask(), self._event_loop)
        try:
            return asked.result(_HEALTH_SECONDS)
        except TimeoutError:
            asked.cancel()
            return 503, b"The service does not answer.\n"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log an error of a scraper; the base class would print it."""
        log.warning("scrape_failed", client=client_address, exc_info=sys.exception())


class _ServerV6(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Bind as the base class does, and take IPv4 too."""
        take_ipv4_too(self.socket)
        super().server_bind()


class _Handler(WSGIRequestHandler):
    timeout = 10
    """The seconds that a client may take to send its request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
        """Log nothing, because scrapes are routine."""
