"""Converts refusals for callers. The contract has the properties of the reason, the error has the facts."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast_chassis.contract import ERROR_DOMAIN, REASONS, RETRYABLE_KEY
from holdfast_chassis.entropy import SYSTEM_ENTROPY
from holdfast_inventory.domain import errors
from holdfast_inventory.domain.errors import DomainError

DETAILS_KEY = "grpc-status-details-bin"

# Details are sent in trailers, in base64, and clients accept 8 KiB of trailers by default.
MAX_VIOLATIONS = 20
MAX_SHORTAGES_BYTES = 3_600
_FRAME_BYTES = 8
"""The approximate overhead of a map entry in protobuf."""
MAX_DESCRIPTION_CHARACTERS = 120
MAX_MESSAGE_CHARACTERS = 500

# Refusals come in large numbers and are similar: those whose delays differ by less than this are created once.
_RETRY_STEPS_PER_SECOND = 20
_MAX_KNOWN = 4096
# Refusals that many callers get at once with the same time: their delays are random, so that they do not return
# together.
_STAMPEDES = (errors.InsufficientStock, errors.SalePaused)
_MIN_SPREAD_SECONDS = 1.0
_SPREAD_SHARE = 0.1
_uniform = SYSTEM_ENTROPY.uniform
_known: dict[Hashable, "Refusal"] = {}


class Refusal(NamedTuple):
    """A refusal for gRPC: as the status of a call, and as a message in an outcome.

    `code` is the number of the gRPC status, `code_name` its name.
    """

    code: int
    code_name: str
    reason: str
    message: str
    trailers: tuple[tuple[str, bytes], ...]
    status: Status


class Facts(NamedTuple):
    """The facts and details of a refusal."""

    metadata: Mapping[str, str] = {}
    details: Sequence[Message] = ()


def refusal_of(error: DomainError) -> Refusal:
    """Return the refusal for `error`. It is shared, so it must not be changed."""
    delay_seconds = _delay_seconds(error)
    key = (type(error), *(vars(error) | {"retry_after_seconds": delay_seconds}).values())
    refusal = _known.get(key)
    if refusal is None:
        if len(_known) >= _MAX_KNOWN:
            _known.clear()
        refusal = _known[key] = _refusal(error, delay_seconds)
    return refusal


def _delay_seconds(error: DomainError) -> float | None:
    exact: float | None = vars(error).get("retry_after_seconds")
    if exact is not None and isinstance(error, _STAMPEDES):
        exact += _uniform(0.0, max(_MIN_SPREAD_SECONDS, exact * _SPREAD_SHARE))
    return None if exact is None else math.ceil(exact * _RETRY_STEPS_PER_SECOND) / _RETRY_STEPS_PER_SECOND


def _refusal(error: DomainError, delay_seconds: float | None) -> Refusal:
    reason = REASONS[error.reason]
    facts = _FACTS.get(type(error), _no_facts)(error)
    retryable = reason.retryable and delay_seconds is not None
    metadata = {RETRYABLE_KEY: "true" if retryable else "false", **facts.metadata}
    details = [ErrorInfo(reason=reason.name, domain=ERROR_DOMAIN, metadata=metadata), *facts.details]
    if delay_seconds is not None:
        details.append(_retry(delay_seconds))
    message = _shortened(str(error), MAX_MESSAGE_CHARACTERS)
    status = Status(code=reason.code, message=message, details=map(_packed, details))
    trailers = ((DETAILS_KEY, status.SerializeToString()),)
    return Refusal(reason.code, Code.Name(reason.code), reason.name, message, trailers, status)


def _packed(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed


def _no_facts(_: DomainError) -> Facts:
    return Facts()


def _violations(error: errors.InvalidRequest) -> Facts:
    shown = [
        BadRequest.FieldViolation(field=field, description=_shortened(description, MAX_DESCRIPTION_CHARACTERS))
        for field, description in error.violations[:MAX_VIOLATIONS]
    ]
    return Facts(details=[BadRequest(field_violations=shown)])


def _credential(error: errors.Unauthenticated) -> Facts:
    return Facts({"error": error.error} if error.error else {})


def _scope(error: errors.PermissionDenied) -> Facts:
    return Facts({"scope": error.scope} if error.scope else {})


def _resource(error: errors.NotFound | errors.AlreadyExists) -> Facts:
    return Facts({"resource": error.resource})


def _shortages(error: errors.InsufficientStock) -> Facts:
    metadata: dict[str, str] = {}
    violations: list[PreconditionFailure.Violation] = []
    left_bytes = MAX_SHORTAGES_BYTES
    for item_id, asked, available in error.shortages:
        figures = {f"asked.{item_id}": str(asked), f"available.{item_id}": str(available)}
        description = f"{asked} asked, {available} available"
        violation = PreconditionFailure.Violation(type="STOCK", subject=item_id, description=description)
        left_bytes -= violation.ByteSize() + sum(
            len(name) + len(value) + _FRAME_BYTES for name, value in figures.items()
        )
        if left_bytes < 0:
            metadata["left_out"] = str(len(error.shortages) - len(violations))
            break
        metadata |= figures
        violations.append(violation)
    return Facts(metadata, [PreconditionFailure(violations=violations)])


def _customer_limit(error: errors.CustomerLimitReached) -> Facts:
    metadata = {"limit": str(error.limit), "used": str(error.used)}
    if error.item_id is not None:
        metadata["item"] = error.item_id
    violation = QuotaFailure.Violation(subject=error.item_id or "sale", description=str(error))
    return Facts(metadata, [QuotaFailure(violations=[violation])])


def _opening(error: errors.SaleNotOpen) -> Facts:
    return Facts({"open_time": _rfc3339(error.open_at)})


def _expiry(error: errors.ReservationExpired) -> Facts:
    return Facts({"expire_time": _rfc3339(error.expires_at)})


def _order(error: errors.ReservationConfirmed) -> Facts:
    return Facts({"order": error.order})


def _left_to_return(error: errors.NotReturnable) -> Facts:
    return Facts({"item": error.item_id, "asked": str(error.asked), "left": str(error.left)})


def _webhook_limit(error: errors.WebhookLimitReached) -> Facts:
    return Facts({"limit": str(error.limit)})


def _latest_expiry(error: errors.ExtensionLimitReached) -> Facts:
    return Facts({"latest_expire_time": _rfc3339(error.latest_expires_at)})


def _level(error: errors.BelowHeld) -> Facts:
    return Facts({"on_hand": str(error.on_hand), "held": str(error.held)})


def _version(error: errors.StockChanged) -> Facts:
    return Facts({"version": str(error.version)})


def _etag(error: errors.SaleChanged) -> Facts:
    return Facts({"etag": error.etag})


def _resumption(error: errors.WatchExpired) -> Facts:
    return Facts({"resume_token": error.resume_token} if error.resume_token else {})


def _retry(seconds: float) -> RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(math.ceil(seconds * 1000))
    return RetryInfo(retry_delay=delay)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _shortened(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1] + "…"


_FACTS: Mapping[type[DomainError], Callable[[Any], Facts]] = {
    errors.Unauthenticated: _credential,
    errors.PermissionDenied: _scope,
    errors.InvalidRequest: _violations,
    errors.NotFound: _resource,
    errors.AlreadyExists: _resource,
    errors.InsufficientStock: _shortages,
    errors.CustomerLimitReached: _customer_limit,
    errors.SaleNotOpen: _opening,
    errors.ReservationExpired: _expiry,
    errors.ReservationConfirmed: _order,
    errors.NotReturnable: _left_to_return,
    errors.WebhookLimitReached: _webhook_limit,
    errors.ExtensionLimitReached: _latest_expiry,
    errors.BelowHeld: _level,
    errors.StockChanged: _version,
    errors.SaleChanged: _etag,
    errors.WatchExpired: _resumption,
}
"""The functions that render the facts of errors."""
