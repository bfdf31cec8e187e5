"""Why Holdfast refuses a call over gRPC, as google.rpc.Status tells it."""

from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2


class Refused(NamedTuple):
    """`violations` are by field, `metadata` is that of the reason; `retry_seconds` is None when no retry is advised."""

    code: str
    reason: str
    violations: dict[str, str]
    retry_seconds: float | None
    metadata: dict[str, str]


def refused(error: grpc.aio.AioRpcError) -> Refused:
    """Read an error's details; one without any has no reason."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    return told(status_pb2.Status.FromString(details), error.code().name)


def told(status: status_pb2.Status, code: str = "") -> Refused:
    """Read a google.rpc.Status."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), None
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
        delay = error_details_pb2.RetryInfo()
        if detail.Unpack(delay):
            retry = delay.retry_delay.ToTimedelta().total_seconds()
    violations = {each.field: each.description for each in bad.field_violations}
    return Refused(code, info.reason, violations, retry, dict(info.metadata))


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the reason; empty when the error has no details, as those that gRPC makes by itself."""
    return refused(error).reason
