"""The gateway's metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from holdfast_chassis.lifecycle import PHASES
from holdfast_chassis.metrics import UnlockedHistogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class HttpMetrics(Collector):
    """Requests, by method, path template and status.

    They are counted in plain numbers on the event loop and become metrics when they are scraped, because the locks of
    the library's counters cost several times as much on every request.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = Gauge("holdfast_http_in_flight_requests", "Requests in progress.", registry=registry)
        self.streams = Gauge("holdfast_http_open_streams", "Server-sent event streams.", registry=registry)
        self._seconds: dict[tuple[str, str, int], UnlockedHistogram] = {}
        registry.register(self)

    def observe(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request. `path` is a template, so that the number of series is limited."""
        key = (method, path, status)
        histogram = self._seconds.get(key)
        if histogram is None:
            histogram = self._seconds[key] = UnlockedHistogram(_SECONDS)
        histogram.observe(seconds)

    def traced(self, method: str, path: str, status: int, seconds: float, trace_id: str) -> None:
        """Remember the trace of a request that was observed."""
        self._seconds[method, path, status].exemplify(seconds, trace_id)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        labels = ("method", "path", "status")
        requests = CounterMetricFamily("http_requests", "Requests answered.", labels=labels)
        seconds = HistogramMetricFamily(
            "http_request_duration_seconds",
            "From a request's headers to its answer; for a stream, to its end.",
            labels=labels,
        )
        # A copy, because another thread adds to the original.
        for (method, path, status), histogram in list(self._seconds.items()):
            values = (method, path, str(status))
            requests.add_metric(values, histogram.count)
            histogram.add_to(seconds, values)
        yield from (requests, seconds)


@dataclass(frozen=True)
class SubmitMetrics:
    """The metrics of the coalescer."""

    batch_commands: Histogram
    under_way: Gauge
    waiting: Gauge
    dropped: Counter

    @classmethod
    def make(cls, registry: CollectorRegistry) -> "SubmitMetrics":
        """Register them."""
        return cls(
            Histogram("holdfast_submit_batch_commands", "Commands in a Submit.", buckets=_COMMANDS, registry=registry),
            Gauge("holdfast_submits_in_flight", "Submits in progress.", registry=registry),
            Gauge("holdfast_submit_waiting_commands", "Commands that wait for a Submit.", registry=registry),
            Counter(
                "holdfast_submit_dropped_commands",
                "Commands whose callers had gone or had waited too long.",
                registry=registry,
            ),
        )


class PhaseMetric:
    """The metric of the process's phase."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauge = Gauge("holdfast_lifecycle_phase", "1 for the current phase.", ("phase",), registry=registry)
        self.draining = Gauge("holdfast_draining_state", "1 while it drains.", registry=registry)

    def enter(self, phase: str) -> None:
        """Show the phase."""
        for each in PHASES:
            self._gauge.labels(each).set(each == phase)
