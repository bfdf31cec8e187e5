"""What the service counts and measures: gRPC under its standard names, the rest as `holdfast_<what>_<unit>`."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from google.protobuf.descriptor import MethodDescriptor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from holdfast_chassis.lifecycle import PHASES
from holdfast_chassis.logs import get_logger

if TYPE_CHECKING:
    from holdfast_inventory.domain.item import Item
    from holdfast_inventory.ledger.group_commit import Committed

log = get_logger("holdfast.metrics")

_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SHORT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class CallMetrics:
    """Calls by method and code, and what became of them and of the commands of Submits by reason."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ("grpc_type", "grpc_service", "grpc_method")
        self.started = Counter("grpc_server_started", "Calls begun.", names, registry=registry)
        self.handled = Counter("grpc_server_handled", "Calls ended.", (*names, "grpc_code"), registry=registry)
        self.seconds = Histogram(
            "grpc_server_handling_seconds", "How long calls took.", names, buckets=_CALL_SECONDS, registry=registry
        )
        self.outcomes = Counter(
            "holdfast_outcomes",
            "Calls, and commands of Submits under the names of the methods that they are like, by the reason of their "
            "refusal (OK: none).",
            ("method", "reason"),
            registry=registry,
        )

    def method(self, method: MethodDescriptor) -> "MethodMetrics":
        """Return the counts of one method."""
        return MethodMetrics(self, method)

    def command(self, method: str, reason: str) -> None:
        """Count a command of a Submit."""
        self.outcomes.labels(method, reason).inc()


class MethodMetrics:
    """The counts of one method. What it increments for each call is looked up once."""

    def __init__(self, calls: CallMetrics, method: MethodDescriptor) -> None:
        kind = "server_stream" if method.server_streaming else "unary"
        self._labels = (kind, method.containing_service.full_name, method.name)
        self._calls = calls
        self._name = method.name
        self.started = calls.started.labels(*self._labels).inc
        self._observe_seconds = calls.seconds.labels(*self._labels).observe
        self._increments: dict[tuple[str, str], tuple[Callable[[], None], Callable[[], None]]] = {}

    def handled(self, code: str, reason: str, seconds: float) -> None:
        """Count a call that has ended."""
        increments = self._increments.get((code, reason))
        if increments is None:
            increments = self._increments[code, reason] = (
                self._calls.handled.labels(*self._labels, code).inc,
                self._calls.outcomes.labels(self._name, reason).inc,
            )
        for increment in increments:
            increment()
        self._observe_seconds(seconds)


class LedgerMetrics:
    """The stock core and its database."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._batch_commands = Histogram(
            "holdfast_batch_commands", "Commands in a batch.", buckets=_COMMANDS, registry=registry
        )
        self._batch_seconds = Histogram(
            "holdfast_batch_seconds", "From a batch's lock to its end.", buckets=_SHORT_SECONDS, registry=registry
        )
        self._queue_wait_seconds = Histogram(
            "holdfast_queue_wait_seconds", "How long commands waited.", buckets=_SHORT_SECONDS, registry=registry
        )
        self._refused_from_memory = Counter(
            "holdfast_refused_from_memory", "Holds refused without asking for stock.", registry=registry
        )
        self._query_seconds = Histogram(
            "holdfast_query_seconds",
            "How long statements took.",
            ("statement",),
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self._expiry_lag_seconds = Gauge(
            "holdfast_expiry_lag_seconds",
            "How long ago the oldest hold ran out that has run out and still holds.",
            registry=registry,
        )
        self._observe_query: dict[str, Callable[[float], None]] = {}

    def batch(self, size: int, seconds: float) -> None:
        """Observe a batch of `size` commands."""
        self._batch_commands.observe(size)
        self._batch_seconds.observe(seconds)

    def waited(self, seconds: float) -> None:
        """Observe how long a command waited for its batch."""
        self._queue_wait_seconds.observe(seconds)

    def refused_from_memory(self) -> None:
        """Count a hold that was refused without asking for stock."""
        self._refused_from_memory.inc()

    def query(self, statement: str, seconds: float) -> None:
        """Observe a statement."""
        observe = self._observe_query.get(statement)
        if observe is None:
            observe = self._observe_query[statement] = self._query_seconds.labels(statement).observe
        observe(seconds)

    def expiry_lag(self, seconds: float) -> None:
        """Note how far behind expiry is."""
        self._expiry_lag_seconds.set(seconds)


class FanoutMetrics:
    """Redis."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "holdfast_redis_seconds",
            "How long Redis took to answer.",
            ("operation",),
            buckets=_SHORT_SECONDS,
            registry=registry,
        )
        self._errors = Counter("holdfast_redis_errors", "What failed with Redis.", ("operation",), registry=registry)

    def redis_took(self, operation: str, seconds: float) -> None:
        """Observe an operation."""
        self._seconds.labels(operation).observe(seconds)

    def redis_failed(self, operation: str) -> None:
        """Count an operation that failed."""
        self._errors.labels(operation).inc()


class StockLevels(Collector):
    """The stock of the items that moved last, as this process committed it: so many series, and never more."""

    def __init__(self, registry: CollectorRegistry, limit_items: int) -> None:
        self._items: OrderedDict[tuple[str, str], Item] = OrderedDict()
        self._limit_items = limit_items
        registry.register(self)

    def committed(self, change: "Committed") -> None:
        """Take the levels that a commit left."""
        for item in change.items:
            key = (change.sale_id, item.item_id)
            self._items[key] = item
            self._items.move_to_end(key)
        while len(self._items) > self._limit_items:
            self._items.popitem(last=False)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the levels."""
        family = GaugeMetricFamily(
            "holdfast_stock_units", "Units of the items that moved last.", labels=("sale", "item", "level")
        )
        # Copied, for this runs in another thread than what changes it.
        for (sale_id, item_id), item in list(self._items.items()):
            for level in ("on_hand", "held", "available", "sold"):
                family.add_metric((sale_id, item_id, level), getattr(item, level))
        yield family


class PoolUse(Collector):
    """The database connections: looked at on every scrape, and now and then, so that it is known without one too."""

    def __init__(self, registry: CollectorRegistry, use: Callable[[], Mapping[str, int]]) -> None:
        """`use` returns how many connections there are, by kind; it is called in any thread."""
        self._use = use
        self._connections = Gauge(
            "holdfast_database_connections", "Connections to PostgreSQL, by kind.", ("kind",), registry=None
        )
        registry.register(self)

    async def sample(self) -> bool:
        """Look, and note it in the log as well. There is never more to do."""
        log.debug("connections", **self._look())
        return False

    def collect(self) -> Iterable[Metric]:
        """Return what there is now."""
        self._look()
        return self._connections.collect()

    def _look(self) -> Mapping[str, int]:
        use = self._use()
        for kind, count in use.items():
            self._connections.labels(kind).set(count)
        return use


class ProcessMetrics:
    """The state of the process itself."""

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._registry = registry
        self._phase = Gauge("holdfast_lifecycle_phase", "1 for the phase it is in.", ("phase",), registry=registry)
        self.ready = Gauge("holdfast_ready", "1 while new calls are welcome.", registry=registry)
        build = Gauge("holdfast_build_info", "Which build this is.", ("version",), registry=registry)
        build.labels(version).set(1)

    def phase(self, name: str) -> None:
        """Note the phase of its life: starting, serving, stopping (which is draining), stopped."""
        for phase in PHASES:
            self._phase.labels(phase).set(phase == name)

    def watch(self, name: str, meaning: str, look: Callable[[], float]) -> None:
        """Show a number that is looked up at each scrape, from another thread."""
        Gauge(name, meaning, registry=self._registry).set_function(look)
