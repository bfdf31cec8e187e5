"""Errors from the statuses of gRPC."""

from collections.abc import Iterable
from contextlib import suppress

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from holdfast.inventory.v1.reservation_service_pb2 import Outcome, Reservation
from holdfast_chassis.contract import ERROR_DOMAIN, RETRYABLE_KEY
from holdfast_client.errors import HoldfastError, Refusal, Unanswered
from holdfast_client.refusals import BY_REASON

_DETAILS = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Trailers = Iterable[tuple[str, str | bytes]]


def error_of(code: grpc.StatusCode, message: str | None, trailers: Trailers | None) -> HoldfastError:
    """Return the error of a call that has failed."""
    details = next((value for key, value in trailers or () if key == _DETAILS), b"")
    refusal = None
    if isinstance(details, bytes):
        with suppress(DecodeError):  # A proxy has made them up.
            refusal = refusal_of(status_pb2.Status.FromString(details))
    if refusal is None:
        return Unanswered(message or "", code)
    refusal.code = code
    return refusal


def refusal_of(status: status_pb2.Status) -> Refusal | None:
    """Return the refusal that a google.rpc.Status describes; None if it is not one of Holdfast's."""
    info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
    has_retry = False
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        has_retry = detail.Unpack(retry) or has_retry
    if info.domain != ERROR_DOMAIN:
        return None
    metadata = dict(info.metadata)
    return BY_REASON.get(info.reason, Refusal)(
        info.reason,
        status.message,
        _CODES.get(status.code, grpc.StatusCode.UNKNOWN),
        retryable=metadata.pop(RETRYABLE_KEY, "") == "true",
        retry_after_seconds=retry.retry_delay.ToTimedelta().total_seconds() if has_retry else None,
        metadata=metadata,
        violations={each.field: each.description for each in bad.field_violations},
    )


def result_of(outcome: Outcome) -> Reservation:
    """Return the reservation of a command in a Submit. Raises its refusal."""
    if not outcome.HasField("error"):
        return outcome.reservation
    status = outcome.error
    raise refusal_of(status) or Unanswered(status.message, _CODES.get(status.code, grpc.StatusCode.UNKNOWN))
