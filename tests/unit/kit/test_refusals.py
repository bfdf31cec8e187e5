"""A refusal is read from google.rpc.Status."""

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import AioRpcError, Metadata

from lab.kit.refusals import Refused, reason_of, refused

NO_DETAILS = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata(), details="no connection")


def error_with(*details):
    status = status_pb2.Status()
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailers = Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, Metadata(), trailers)


def test_a_refusal_has_its_reason_its_fields_and_when_to_come_back():
    violation = error_details_pb2.BadRequest.FieldViolation(field="lines", description="must not be empty")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    error = error_with(
        error_details_pb2.ErrorInfo(reason="OVERLOADED", metadata={"limit": "9"}),
        retry,
        error_details_pb2.BadRequest(field_violations=[violation]),
    )
    violations = {"lines": "must not be empty"}
    assert refused(error) == Refused("RESOURCE_EXHAUSTED", "OVERLOADED", violations, 1.5, {"limit": "9"})


def test_an_error_that_grpc_makes_by_itself_has_no_reason():
    assert refused(NO_DETAILS) == Refused("UNAVAILABLE", "", {}, None, {})
    assert reason_of(NO_DETAILS) == ""
