"""Round trips and refusals are counted from what an inventory's metrics page really looks like."""

from google.protobuf.descriptor import MethodDescriptor
from prometheus_client import CollectorRegistry, generate_latest

from holdfast.inventory.v1 import reservation_service_pb2 as pb
from holdfast_inventory.metrics import CallMetrics, LedgerMetrics
from holdfast_inventory.postgres.statements import load
from lab.bench.service_metrics import Batches, batches, outcomes, overloaded

CREATE: MethodDescriptor = pb.DESCRIPTOR.services_by_name["ReservationService"].methods_by_name["CreateReservation"]


def page(fill, metrics):
    registry = CollectorRegistry()
    fill(metrics(registry))
    return generate_latest(registry).decode()


def two_batches(ledger):
    for statement in ("begin", *load("batch"), "commit", "next_occurrence", "sales_to_sweep"):
        ledger.query(statement, 0.001)
    for size in (3, 5):
        ledger.on_batch(size, 0.25)


def calls(metrics):
    counts = metrics.method(CREATE)
    for reason in ("OK", "OK", "INSUFFICIENT_STOCK", "OVERLOADED", "DEADLINE_IN_QUEUE"):
        counts.handled("CODE", reason, 0.001)
    metrics.command("CreateReservation", "OVERLOADED")
    metrics.command("ConfirmReservation", "OVERLOADED")


def test_statements_that_belong_to_no_batch_are_no_round_trips_of_it():
    trips = len(load("batch")) + 2
    found = batches([page(two_batches, LedgerMetrics)])
    assert found == Batches(number=2, commands=8, seconds=0.5, trips=trips)
    assert (found.trips_each, found.commands_each, found.milliseconds_each) == (trips / 2, 4, 250)


def test_inventories_are_summed_up_and_what_was_before_is_taken_off():
    one = page(two_batches, LedgerMetrics)
    assert batches([one, one]).since(batches([one])) == batches([one])


def test_creates_are_counted_by_reason_in_submits_too():
    found = outcomes([page(calls, CallMetrics)])
    assert found == {"OK": 2, "INSUFFICIENT_STOCK": 1, "OVERLOADED": 2, "DEADLINE_IN_QUEUE": 1}


def test_what_is_refused_otherwise_than_for_stock_is_overload():
    assert overloaded([page(calls, CallMetrics)]) == 3
    assert overloaded([]) == 0
