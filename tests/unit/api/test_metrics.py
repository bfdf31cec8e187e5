"""Metrics that are counted in plain numbers are scraped like the library's own metrics."""

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily

from holdfast.inventory.v1 import reservation_service_pb2
from holdfast_inventory.domain.item import Item
from holdfast_inventory.metrics import (
    CallMetrics,
    LedgerMetrics,
    PoolUse,
    ProcessMetrics,
    StockLevels,
    UnlockedHistogram,
)

SUBMIT = reservation_service_pb2.DESCRIPTOR.services_by_name["ReservationService"].methods_by_name["Submit"]
BOUNDS = (0.001, 0.25, 1.0)


@pytest.fixture
def registry():
    return CollectorRegistry()


def lines_of(registry, name):
    exposition = generate_latest(registry).decode().splitlines()
    return [line for line in exposition if line.startswith(name) and "_created" not in line]


def test_a_spread_is_what_a_histogram_would_be(registry):
    spread, histogram = UnlockedHistogram(BOUNDS), Histogram("seconds", "x", buckets=BOUNDS, registry=registry)
    for value in (0.0, 0.001, 0.0011, 0.25, 0.9, 1.0, 7.0):
        spread.observe(value)
        histogram.observe(value)
    family = HistogramMetricFamily("seconds", "x")
    spread.add_to(family)
    assert lines_of(SimpleNamespace(collect=lambda: [family]), "seconds") == lines_of(registry, "seconds")


def test_commands_of_a_submit_are_outcomes_beside_the_calls(registry):
    calls = CallMetrics(registry)
    method = calls.method(SUBMIT)
    method.started()
    method.handled("OK", "OK", 0.002)
    calls.command("CreateReservation", "INSUFFICIENT_STOCK")
    assert lines_of(registry, "holdfast_outcomes_total") == [
        'holdfast_outcomes_total{method="CreateReservation",reason="INSUFFICIENT_STOCK"} 1.0',
        'holdfast_outcomes_total{method="Submit",reason="OK"} 1.0',
    ]


def test_stock_is_shown_of_the_items_that_moved_last_and_of_no_more(registry):
    levels = StockLevels(registry, limit_items=2)
    for item_id in ("a", "b", "a", "c"):
        item = Item(item_id, on_hand=5, held=2, sold=1, per_customer_limit=0, version=1)
        levels.on_committed(SimpleNamespace(sale_id="s", items=[item]))
    shown = lines_of(registry, "holdfast_stock_units{")
    assert len(shown) == 2 * 4
    assert {line.split('"')[1] for line in shown} == {"a", "c"}
    assert 'holdfast_stock_units{item="a",level="available",sale="s"} 3.0' in shown


def test_statements_and_waits_are_measured(registry):
    metrics = LedgerMetrics(registry)
    metrics.query("lock_sale", 0.01)
    metrics.on_waited(0.01)
    metrics.on_batch(64, 0.01)
    assert registry.get_sample_value("holdfast_query_seconds_count", {"statement": "lock_sale"}) == 1
    assert registry.get_sample_value("holdfast_queue_wait_seconds_count") == 1
    assert registry.get_sample_value("holdfast_batch_commands_sum") == 64


async def test_connections_are_looked_at_on_a_scrape_and_in_between(registry):
    looks = iter(range(1, 100))
    use = PoolUse(registry, lambda: {"writers": next(looks)})
    await use.sample()
    before = registry.get_sample_value("holdfast_database_connections", {"kind": "writers"})
    assert registry.get_sample_value("holdfast_database_connections", {"kind": "writers"}) > before


def test_one_phase_is_shown_at_a_time(registry):
    process = ProcessMetrics(registry, "1.2.3")
    process.phase("serving")
    process.phase("stopping")
    shown = {line for line in lines_of(registry, "holdfast_lifecycle_phase{") if line.endswith("1.0")}
    assert shown == {'holdfast_lifecycle_phase{phase="stopping"} 1.0'}
