"""The errors of the Python client are what the service puts into a status."""

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2 as details
from google.rpc import status_pb2

from holdfast.inventory.v1.reservation_service_pb2 import Outcome, Reservation
from holdfast_chassis.contract import ERROR_DOMAIN, REASONS
from holdfast_client import Refusal, Unanswered, refusals, result_of
from holdfast_client.statuses import error_of, refusal_of
from scripts import python_client


def status(reason, *more, domain=ERROR_DOMAIN, code=9, **metadata):
    info = details.ErrorInfo(reason=reason, domain=domain, metadata=metadata)
    packed = [any_pb2.Any() for _ in (info, *more)]
    for each, detail in zip(packed, (info, *more), strict=True):
        each.Pack(detail)
    return status_pb2.Status(code=code, message="two are left", details=packed)


def test_a_refusal_has_the_class_of_its_reason_and_all_that_was_said():
    retry = details.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000))
    said = status("INSUFFICIENT_STOCK", retry, **{"retryable": "true", "available.cap": "2"})
    refusal = error_of(grpc.StatusCode.FAILED_PRECONDITION, "", [("grpc-status-details-bin", said.SerializeToString())])
    assert isinstance(refusal, refusals.InsufficientStock)
    assert (refusal.retryable, refusal.retry_after_seconds) == (True, 2.5)
    assert (refusal.metadata, str(refusal)) == ({"available.cap": "2"}, "two are left")
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION


def test_an_invalid_request_names_the_fields():
    violations = [details.BadRequest.FieldViolation(field="lines[0].quantity", description="must be 1 or more")]
    refusal = refusal_of(status("INVALID_REQUEST", details.BadRequest(field_violations=violations), code=3))
    assert isinstance(refusal, refusals.InvalidRequest)
    assert refusal.violations == {"lines[0].quantity": "must be 1 or more"}
    assert "lines[0].quantity: must be 1 or more." in str(refusal)


def test_a_reason_that_is_newer_than_the_client_is_a_refusal():
    refusal = refusal_of(status("MOON_IS_FULL", retryable="true"))
    assert (type(refusal), refusal.reason, refusal.retryable) == (Refusal, "MOON_IS_FULL", True)


@pytest.mark.parametrize("trailers", [None, [], [("grpc-status-details-bin", b"\xff\xff")], [("other", "x")]])
def test_a_status_of_another_origin_is_no_answer(trailers):
    error = error_of(grpc.StatusCode.UNAVAILABLE, "Socket closed", trailers)
    assert isinstance(error, Unanswered)
    assert str(error) == "UNAVAILABLE: Socket closed"


def test_details_of_another_domain_are_no_refusal():
    assert refusal_of(status("OVERLOADED", domain="example.com")) is None


def test_an_outcome_is_a_reservation_or_raises_its_refusal():
    assert result_of(Outcome(reservation=Reservation(order="o-1"))).order == "o-1"
    with pytest.raises(refusals.SaleClosed):
        result_of(Outcome(error=status("SALE_CLOSED")))
    with pytest.raises(Unanswered):
        result_of(Outcome(error=status_pb2.Status(code=14, message="lost")))


def test_every_reason_has_a_class_of_its_own():
    assert set(refusals.BY_REASON) == set(REASONS)
    assert len(set(refusals.BY_REASON.values())) == len(REASONS)


def test_methods_and_refusals_are_what_the_contract_says():
    for path, text in python_client.rendered().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make generate`"
