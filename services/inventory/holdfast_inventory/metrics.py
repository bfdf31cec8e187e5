"""The service's metrics: those of gRPC under their standard names, the others as `holdfast_<what>_<unit>`."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from google.protobuf.descriptor import MethodDescriptor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from holdfast_chassis.lifecycle import PHASES
from holdfast_chassis.logs import get_logger
from holdfast_chassis.metrics import UnlockedHistogram

if TYPE_CHECKING:
    from holdfast_inventory.domain.item import Item
    from holdfast_inventory.ports import Committed
    from holdfast_inventory.postgres.webhook_store import Backlog

log = get_logger("holdfast.metrics")

_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SHORT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class CallMetrics(Collector):
    """Calls by method and code, and the outcomes of calls and of commands of Submits, by reason.

    They are counted in plain numbers on the event loop and become metrics when they are scraped, because the locks of
    the library's counters cost several times as much on every call.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._methods: list[MethodMetrics] = []
        self._commands: dict[tuple[str, str], int] = {}
        self._spoofed = 0
        registry.register(self)

    def method(self, method: MethodDescriptor) -> "MethodMetrics":
        """Return the counts of one method."""
        counts = MethodMetrics(method)
        self._methods.append(counts)
        return counts

    def command(self, method: str, reason: str) -> None:
        """Count a command of a Submit, under the method for the same command."""
        key = (method, reason)
        self._commands[key] = self._commands.get(key, 0) + 1

    def spoofed(self) -> None:
        """Count a call that spoke for other callers, and may not."""
        self._spoofed += 1

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        names = ("grpc_type", "grpc_service", "grpc_method")
        started = CounterMetricFamily("grpc_server_started", "Calls begun.", labels=names)
        handled = CounterMetricFamily("grpc_server_handled", "Calls ended.", labels=(*names, "grpc_code"))
        seconds = HistogramMetricFamily("grpc_server_handling_seconds", "Duration of calls.", labels=names)
        outcomes = CounterMetricFamily(
            "holdfast_outcomes",
            "Calls and the commands of Submits, by the reason of their refusal (OK: none).",
            labels=("method", "reason"),
        )
        reasons = dict(self._commands)
        for method in self._methods:
            started.add_metric(method.labels, method.begun)
            method.seconds.add_to(seconds, method.labels)
            codes: dict[str, int] = {}
            for (code, reason), count in dict(method.ended).items():
                codes[code] = codes.get(code, 0) + count
                reasons[method.name, reason] = reasons.get((method.name, reason), 0) + count
            for code, count in codes.items():
                handled.add_metric((*method.labels, code), count)
        for key, count in reasons.items():
            outcomes.add_metric(key, count)
        spoofed = CounterMetricFamily(
            "holdfast_spoofed_calls", "Calls that spoke for other callers, refused for want of a trusted certificate."
        )
        spoofed.add_metric((), self._spoofed)
        yield from (started, handled, seconds, outcomes, spoofed)


class MethodMetrics:
    """The counts of one method."""

    __slots__ = ("begun", "ended", "labels", "name", "seconds")

    def __init__(self, method: MethodDescriptor) -> None:
        kind = "server_stream" if method.server_streaming else "unary"
        self.name = method.name
        self.labels = (kind, method.containing_service.full_name, method.name)
        self.begun = 0
        self.ended: dict[tuple[str, str], int] = {}
        """Return how many calls ended with a code and a reason."""
        self.seconds = UnlockedHistogram(_CALL_SECONDS)

    def started(self) -> None:
        """Count the start of a call."""
        self.begun += 1

    def handled(self, code: str, reason: str, seconds: float) -> None:
        """Count the end of a call."""
        key = (code, reason)
        self.ended[key] = self.ended.get(key, 0) + 1
        self.seconds.observe(seconds)

    def traced(self, seconds: float, trace_id: str) -> None:
        """Remember the trace of a call that took `seconds`."""
        self.seconds.exemplify(seconds, trace_id)


class QueueWait(Collector):
    """The time that commands waited for their batch. It is observed for every command, so it must be cheap."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = UnlockedHistogram(_SHORT_SECONDS)
        self.observe = self._seconds.observe
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Return the histogram."""
        family = HistogramMetricFamily("holdfast_queue_wait_seconds", "Time that commands waited for their batch.")
        self._seconds.add_to(family)
        yield family


class LedgerMetrics:
    """The metrics of the stock core and its database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._batch_commands = Histogram(
            "holdfast_batch_commands", "Commands in a batch.", buckets=_COMMANDS, registry=registry
        )
        self._batch_seconds = Histogram(
            "holdfast_batch_seconds",
            "Time from the beginning of a batch to its end.",
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self._queue_wait_seconds = QueueWait(registry)
        self._refused_from_memory = Counter(
            "holdfast_refused_from_memory", "Holds that were refused from memory.", registry=registry
        )
        self._query_seconds = Histogram(
            "holdfast_query_seconds",
            "Duration of statements.",
            ("statement",),
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self._expiry_lag_seconds = Gauge(
            "holdfast_expiry_lag_seconds",
            "Time since the oldest due hold ran out.",
            registry=registry,
        )
        self._observe_query: dict[str, Callable[[float], None]] = {}

    def on_batch(self, size: int, seconds: float) -> None:
        """Observe a batch of `size` commands."""
        self._batch_commands.observe(size)
        self._batch_seconds.observe(seconds)

    def on_waited(self, seconds: float) -> None:
        """Observe the time that a command waited for its batch."""
        self._queue_wait_seconds.observe(seconds)

    def refused_from_memory(self) -> None:
        """Count a hold that was refused from memory."""
        self._refused_from_memory.inc()

    def query(self, statement: str, seconds: float) -> None:
        """Observe a statement."""
        observe = self._observe_query.get(statement)
        if observe is None:
            observe = self._observe_query[statement] = self._query_seconds.labels(statement).observe
        observe(seconds)

    def expiry_lag(self, seconds: float) -> None:
        """Set the time since the oldest due hold ran out, in seconds."""
        self._expiry_lag_seconds.set(seconds)


class WebhookMetrics:
    """Webhooks: attempts of this process, and what the database says has not been delivered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "holdfast_webhook_attempts",
            "Attempts to deliver a message.",
            ("webhook", "outcome"),
            registry=registry,
        )
        self._parked = Gauge(
            "holdfast_webhook_parked_deliveries",
            "Sales whose movements are not sent any more until they are redelivered.",
            ("webhook",),
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "holdfast_webhook_lag_seconds",
            "How long the oldest movement has waited for its delivery.",
            ("webhook",),
            registry=registry,
        )

    def webhook_attempt(self, webhook_id: str, *, delivered: bool) -> None:
        """Count an attempt to deliver a message."""
        self._attempts.labels(webhook_id, "delivered" if delivered else "failed").inc()

    def webhook_backlog(self, backlog: Iterable["Backlog"]) -> None:
        """Replace what each webhook has not delivered."""
        for gauge in (self._parked, self._lag_seconds):
            gauge.clear()
        for webhook_id, parked, lag_seconds in backlog:
            self._parked.labels(webhook_id).set(parked)
            self._lag_seconds.labels(webhook_id).set(lag_seconds)


class RefusalMetrics:
    """The notes of refused creates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._dropped = Counter(
            "holdfast_refusals_dropped",
            "Refusals that are not in reports or in customers' lists, because there were too many.",
            registry=registry,
        )

    def dropped(self, count: int) -> None:
        """Count refusals that were not kept."""
        self._dropped.inc(count)


class FanoutMetrics:
    """Redis."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "holdfast_redis_seconds",
            "Time until Redis answered.",
            ("operation",),
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self._errors = Counter(
            "holdfast_redis_errors", "Failed operations with Redis.", ("operation",), registry=registry
        )

    def redis_took(self, operation: str, seconds: float) -> None:
        """Observe an operation."""
        self._seconds.labels(operation).observe(seconds)

    def redis_failed(self, operation: str) -> None:
        """Count an operation that failed."""
        self._errors.labels(operation).inc()


class StockLevels(Collector):
    """The stock of the items that this process changed last, with a limited number of series."""

    def __init__(self, registry: CollectorRegistry, limit_items: int) -> None:
        self._items: OrderedDict[tuple[str, str], Item] = OrderedDict()
        self._limit_items = limit_items
        registry.register(self)

    def on_committed(self, change: "Committed") -> None:
        """Note the stock levels after a commit."""
        for item in change.items:
            key = (change.sale_id, item.item_id)
            self._items[key] = item
            self._items.move_to_end(key)
        while len(self._items) > self._limit_items:
            self._items.popitem(last=False)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the metrics."""
        family = GaugeMetricFamily(
            "holdfast_stock_units", "Units of the items that changed last.", labels=("sale", "item", "level")
        )
        # A copy, because another thread changes the original.
        for (sale_id, item_id), item in list(self._items.items()):
            for level in ("on_hand", "held", "available", "sold"):
                family.add_metric((sale_id, item_id, level), getattr(item, level))
        yield family


class PoolUse(Collector):
    """The database connections: read at every scrape, and at intervals for the log."""

    def __init__(self, registry: CollectorRegistry, use: Callable[[], Mapping[str, int]]) -> None:
        """`use` returns the numbers of connections by kind; it may be called in any thread."""
        self._use = use
        self._connections = Gauge(
            "holdfast_database_connections", "Connections to PostgreSQL, by kind.", ("kind",), registry=None
        )
        registry.register(self)

    async def sample(self) -> bool:
        """Log the numbers. Return False: there is never more to do."""
        log.debug("connections", **self._look())
        return False

    def collect(self) -> Iterable[Metric]:
        """Return the metric with the present numbers."""
        self._look()
        return self._connections.collect()

    def _look(self) -> Mapping[str, int]:
        use = self._use()
        for kind, count in use.items():
            self._connections.labels(kind).set(count)
        return use


class ProcessMetrics:
    """The metrics of the process itself."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        self._phase = Gauge("holdfast_lifecycle_phase", "1 for the current phase.", ("phase",), registry=registry)
        self.ready = Gauge("holdfast_ready", "1 while new calls are accepted.", registry=registry)
        build = Gauge("holdfast_build_info", "The version of this build.", ("version",), registry=registry)
        build.labels(version).set(1)

    def phase(self, name: str) -> None:
        """Set the phase: starting, serving, stopping (which includes draining) or stopped."""
        for phase in PHASES:
            self._phase.labels(phase).set(phase == name)

    def watch(self, name: str, meaning: str, look: Callable[[], float]) -> None:
        """Add a gauge whose function is called at each scrape, in another thread."""
        Gauge(name, meaning, registry=self._registry).set_function(look)
