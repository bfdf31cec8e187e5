"""The reason of a refusal over gRPC, from google.rpc.Status."""

from typing import NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2


class Refused(NamedTuple):
    """A refusal. `violations` are by field, `metadata` is the reason's; `retry_seconds` is None without RetryInfo."""

    code: str
    reason: str
    violations: dict[str, str]
    retry_seconds: float | None
    metadata: dict[str, str]


def refused(error: grpc.aio.AioRpcError) -> Refused:
    """Read an error's details. Without details the reason is empty."""
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
    """Return the reason; empty if the error has no details, as errors that gRPC itself raises."""
    return refused(error).reason
