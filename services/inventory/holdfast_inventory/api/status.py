"""The table of refusals: each reason's gRPC code and details, as error_reason.proto documents them."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast_inventory.domain import errors
from holdfast_inventory.domain.errors import DomainError, Reason

DOMAIN = "inventory.holdfast.dev"
DETAILS_KEY = "grpc-status-details-bin"

# Details travel in trailers, in base64, and clients take 8 KiB of these unless told otherwise.
MAX_VIOLATIONS = 20
MAX_SHORTAGES = 10
MAX_DESCRIPTION_CHARACTERS = 120
MAX_MESSAGE_CHARACTERS = 500

# Refusals come in stampedes and look alike: those whose delays differ by less than this are made once.
_RETRY_STEPS_PER_SECOND = 20
_CACHED_REFUSALS = 4096


class Refusal(NamedTuple):
    """A refusal as gRPC has it: as the status of a call, and as a message among other outcomes."""

    code: grpc.StatusCode
    reason: str
    message: str
    trailers: tuple[tuple[str, bytes], ...]
    status: Status


class Facts(NamedTuple):
    """What a refusal tells besides its reason."""

    metadata: Mapping[str, str] = {}
    details: Sequence[Message] = ()


_Retryable = (
    errors.SaleNotOpen
    | errors.Overloaded
    | errors.RateLimited
    | errors.DatabaseUnavailable
    | errors.Draining
    | errors.OutcomeUnknown
    | errors.WatchExpired
)


def refusal_of(error: DomainError) -> Refusal:
    """Return how `error` is told to the caller. Do not change what it returns: it is shared."""
    values = vars(error)
    delay = values.get("retry_after_seconds")
    if delay is not None:
        delay = math.ceil(delay * _RETRY_STEPS_PER_SECOND) / _RETRY_STEPS_PER_SECOND
        values = values | {"retry_after_seconds": delay}
    return _refusal((type(error), *values.values()))


@lru_cache(_CACHED_REFUSALS)
def _refusal(shape: tuple[Any, ...]) -> Refusal:
    kind, *values = shape
    error: DomainError = kind(*values)
    code, facts_of = TABLE[error.reason]
    metadata, details = facts_of(error)
    message = _shortened(str(error), MAX_MESSAGE_CHARACTERS)
    status = Status(code=code.value[0], message=message)
    for detail in (ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=metadata), *details):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return Refusal(code, error.reason.name, message, ((DETAILS_KEY, status.SerializeToString()),), status)


def _no_facts(_: DomainError) -> Facts:
    return Facts()


def _violations(error: errors.InvalidRequest) -> Facts:
    shown = [
        BadRequest.FieldViolation(field=field, description=_shortened(description, MAX_DESCRIPTION_CHARACTERS))
        for field, description in error.violations[:MAX_VIOLATIONS]
    ]
    return Facts(details=[BadRequest(field_violations=shown)])


def _resource(error: errors.NotFound | errors.AlreadyExists) -> Facts:
    return Facts({"resource": error.resource})


def _shortages(error: errors.InsufficientStock) -> Facts:
    metadata, violations = {}, []
    for item_id, asked, available in error.shortages[:MAX_SHORTAGES]:
        metadata[f"asked.{item_id}"] = str(asked)
        metadata[f"available.{item_id}"] = str(available)
        description = f"{asked} asked, {available} available"
        violations.append(PreconditionFailure.Violation(type="STOCK", subject=item_id, description=description))
    return Facts(metadata, [PreconditionFailure(violations=violations)])


def _customer_limit(error: errors.CustomerLimitReached) -> Facts:
    metadata = {"limit": str(error.limit), "used": str(error.used)}
    if error.item_id is not None:
        metadata["item"] = error.item_id
    violation = QuotaFailure.Violation(subject=error.item_id or "sale", description=str(error))
    return Facts(metadata, [QuotaFailure(violations=[violation])])


def _opening(error: errors.SaleNotOpen) -> Facts:
    return Facts({"open_time": _rfc3339(error.open_at)}, _retry(error).details)


def _expiry(error: errors.ReservationExpired) -> Facts:
    return Facts({"expire_time": _rfc3339(error.expires_at)})


def _order(error: errors.ReservationConfirmed) -> Facts:
    return Facts({"order": error.order})


def _latest_expiry(error: errors.ExtensionLimitReached) -> Facts:
    return Facts({"latest_expire_time": _rfc3339(error.latest_expires_at)})


def _level(error: errors.BelowHeld) -> Facts:
    return Facts({"on_hand": str(error.on_hand), "held": str(error.held)})


def _version(error: errors.StockChanged) -> Facts:
    return Facts({"version": str(error.version)})


def _resumption(error: errors.WatchExpired) -> Facts:
    metadata = {"resume_token": error.resume_token} if error.resume_token else {}
    return Facts(metadata, _retry(error).details)


def _retry(error: _Retryable) -> Facts:
    delay = Duration()
    delay.FromMilliseconds(math.ceil(error.retry_after_seconds * 1000))
    return Facts(details=[RetryInfo(retry_delay=delay)])


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


class Row(NamedTuple):
    """What is said of one reason."""

    code: grpc.StatusCode
    facts_of: Callable[[Any], Facts]


_CODE = grpc.StatusCode
TABLE: Mapping[Reason, Row] = {
    Reason.INVALID_REQUEST: Row(_CODE.INVALID_ARGUMENT, _violations),
    Reason.NOT_FOUND: Row(_CODE.NOT_FOUND, _resource),
    Reason.ALREADY_EXISTS: Row(_CODE.ALREADY_EXISTS, _resource),
    # Not RESOURCE_EXHAUSTED: clients and proxies retry that by themselves.
    Reason.INSUFFICIENT_STOCK: Row(_CODE.FAILED_PRECONDITION, _shortages),
    Reason.CUSTOMER_LIMIT_REACHED: Row(_CODE.FAILED_PRECONDITION, _customer_limit),
    Reason.SALE_NOT_OPEN: Row(_CODE.FAILED_PRECONDITION, _opening),
    Reason.SALE_CLOSED: Row(_CODE.FAILED_PRECONDITION, _no_facts),
    Reason.SALE_PAUSED: Row(_CODE.FAILED_PRECONDITION, _no_facts),
    Reason.RESERVATION_EXPIRED: Row(_CODE.FAILED_PRECONDITION, _expiry),
    Reason.RESERVATION_RELEASED: Row(_CODE.FAILED_PRECONDITION, _no_facts),
    Reason.RESERVATION_CONFIRMED: Row(_CODE.FAILED_PRECONDITION, _order),
    Reason.EXTENSION_LIMIT_REACHED: Row(_CODE.FAILED_PRECONDITION, _latest_expiry),
    Reason.BELOW_HELD: Row(_CODE.FAILED_PRECONDITION, _level),
    Reason.STOCK_CHANGED: Row(_CODE.ABORTED, _version),
    Reason.REQUEST_ID_REUSED: Row(_CODE.FAILED_PRECONDITION, _no_facts),
    Reason.OVERLOADED: Row(_CODE.RESOURCE_EXHAUSTED, _retry),
    Reason.RATE_LIMITED: Row(_CODE.RESOURCE_EXHAUSTED, _retry),
    Reason.DATABASE_UNAVAILABLE: Row(_CODE.UNAVAILABLE, _retry),
    Reason.DRAINING: Row(_CODE.UNAVAILABLE, _retry),
    Reason.DEADLINE_IN_QUEUE: Row(_CODE.DEADLINE_EXCEEDED, _no_facts),
    Reason.OUTCOME_UNKNOWN: Row(_CODE.UNAVAILABLE, _retry),
    Reason.READER_TOO_SLOW: Row(_CODE.ABORTED, _no_facts),
    # Not UNAVAILABLE: clients' budgets for retries would pay for what is no failure.
    Reason.WATCH_EXPIRED: Row(_CODE.ABORTED, _resumption),
    Reason.INTERNAL: Row(_CODE.INTERNAL, _no_facts),
}
