"""Refusals as RFC 9457 problem details, and the one table that gives each reason its HTTP status."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn

import orjson
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from holdfast.inventory.v1 import error_reason_pb2 as reasons
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy

MEDIA_TYPE = "application/problem+json"
_RETRY_SPREAD_SECONDS = 3.0
_TYPE_PREFIX = "https://inventory.holdfast.dev/problems/"


@dataclass(frozen=True, slots=True)
class Kind:
    """What all refusals for one reason have in common.

    `retryable`: the very same request may succeed when it is sent again, at once or later.
    """

    reason: str
    status: int
    title: str
    retryable: bool = False

    @property
    def uri(self) -> str:
        """The problem's type: an identifier, not a page to fetch."""
        return _TYPE_PREFIX + self.reason.lower().replace("_", "-")


def _kind(reason: "reasons.ErrorReason.ValueType", status: int, title: str, *, retryable: bool = False) -> Kind:
    return Kind(reasons.ErrorReason.Name(reason), status, title, retryable)


_RETRY = True
INVALID_REQUEST = _kind(reasons.INVALID_REQUEST, 400, "The request breaks a rule")
NOT_FOUND = _kind(reasons.NOT_FOUND, 404, "There is no such thing")
OVERLOADED = _kind(reasons.OVERLOADED, 429, "Too much is waiting already", retryable=_RETRY)
DRAINING = _kind(reasons.DRAINING, 503, "This process is shutting down", retryable=_RETRY)
DEADLINE_IN_QUEUE = _kind(reasons.DEADLINE_IN_QUEUE, 504, "Not begun in time; nothing was done", retryable=_RETRY)
OUTCOME_UNKNOWN = _kind(reasons.OUTCOME_UNKNOWN, 503, "What became of it is not known yet", retryable=_RETRY)
INVENTORY_UNAVAILABLE = _kind(reasons.INVENTORY_UNAVAILABLE, 503, "The inventory cannot be reached", retryable=_RETRY)
WATCH_EXPIRED = _kind(reasons.WATCH_EXPIRED, 409, "The watch has lasted as long as one may", retryable=_RETRY)
INTERNAL = _kind(reasons.INTERNAL, 500, "A fault of ours")

KINDS: Mapping[str, Kind] = {
    kind.reason: kind
    for kind in (
        INVALID_REQUEST,
        NOT_FOUND,
        _kind(reasons.ALREADY_EXISTS, 409, "It exists already"),
        _kind(reasons.INSUFFICIENT_STOCK, 409, "Not enough stock", retryable=_RETRY),
        _kind(reasons.CUSTOMER_LIMIT_REACHED, 409, "The customer has reached the limit"),
        _kind(reasons.SALE_NOT_OPEN, 409, "The sale is not open yet", retryable=_RETRY),
        _kind(reasons.SALE_CLOSED, 409, "The sale is closed"),
        _kind(reasons.SALE_PAUSED, 409, "The sale is paused", retryable=_RETRY),
        _kind(reasons.RESERVATION_EXPIRED, 409, "The hold has run out"),
        _kind(reasons.RESERVATION_RELEASED, 409, "The hold was given back"),
        _kind(reasons.RESERVATION_CONFIRMED, 409, "The units are sold already"),
        _kind(reasons.EXTENSION_LIMIT_REACHED, 409, "The hold cannot be extended so far"),
        _kind(reasons.BELOW_HELD, 409, "Fewer units would be left than are held"),
        _kind(reasons.STOCK_CHANGED, 409, "The stock has changed; read it again"),
        _kind(reasons.REQUEST_ID_REUSED, 422, "The request id was used for something else"),
        OVERLOADED,
        _kind(reasons.RATE_LIMITED, 429, "Too many requests", retryable=_RETRY),
        _kind(reasons.DATABASE_UNAVAILABLE, 503, "The database cannot be reached", retryable=_RETRY),
        DRAINING,
        DEADLINE_IN_QUEUE,
        OUTCOME_UNKNOWN,
        _kind(reasons.READER_TOO_SLOW, 409, "The reader is too slow", retryable=_RETRY),
        WATCH_EXPIRED,
        INTERNAL,
        INVENTORY_UNAVAILABLE,
    )
}
"""Every ErrorReason that a refusal can have, by its name."""


class HttpKind(Enum):
    """Refusals that HTTP itself calls for and that gRPC does not know."""

    METHOD_NOT_ALLOWED = Kind("METHOD_NOT_ALLOWED", 405, "The path does not take this method")
    NOT_ACCEPTABLE = Kind("NOT_ACCEPTABLE", 406, "None of the accepted media types is spoken here")
    SLOW_SENDER = Kind("SLOW_SENDER", 408, "The body did not arrive in time", retryable=True)
    BODY_TOO_LARGE = Kind("BODY_TOO_LARGE", 413, "The body is too large")
    UNSUPPORTED_MEDIA_TYPE = Kind("UNSUPPORTED_MEDIA_TYPE", 415, "The body is not JSON")
    NOT_IMPLEMENTED = Kind("NOT_IMPLEMENTED", 501, "The inventory does not know this method")


Violation = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal. `retry_after_seconds`: when to try again, if that is known."""

    kind: Kind
    detail: str
    violations: Sequence[Violation] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def body(self, instance: str) -> bytes:
        """Render it as JSON; `instance` is the id of the request that it answers."""
        return orjson.dumps(self.document(instance))

    def document(self, instance: str) -> dict[str, Any]:
        """Return the members of the problem; those that say nothing are left out."""
        kind = self.kind
        document: dict[str, Any] = {
            "type": kind.uri,
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": f"urn:request:{instance}",
            "reason": kind.reason,
            "retryable": kind.retryable,
        }
        if self.violations:
            document["violations"] = list(self.violations)
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document

    def response_headers(self, entropy: Entropy = SYSTEM_ENTROPY) -> list[tuple[str, str]]:
        """Return its own headers: the media type and, where it is known, when to try again."""
        headers = [("content-type", MEDIA_TYPE), ("cache-control", "no-store"), *self.headers]
        seconds = self.retry_after_seconds
        if self.kind.status in (429, 503):
            # The header has whole seconds only, so these must differ for clients not to come back all at once.
            seconds = (seconds or 0.0) + entropy.uniform(0.0, _RETRY_SPREAD_SECONDS)
        if seconds is not None:
            headers.append(("retry-after", str(max(1, math.ceil(seconds)))))
        return headers


class ProblemError(Exception):
    """A request is refused; carries the problem that says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refuse(kind: Kind | HttpKind, detail: str, *, headers: tuple[tuple[str, str], ...] = ()) -> NoReturn:
    """Raise the problem."""
    found = kind.value if isinstance(kind, HttpKind) else kind
    raise ProblemError(Problem(found, detail, headers=headers))


def refuse_field(path: str, description: str) -> NoReturn:
    """Refuse the request because of one field, named as in JSON (`lines[0].quantity`)."""
    violation = {"field": path, "description": description}
    raise ProblemError(Problem(INVALID_REQUEST, f"{path}: {description}", [violation]))


_KIND_OF_CODE: Mapping[int, Kind] = {
    code_pb2.INVALID_ARGUMENT: INVALID_REQUEST,
    code_pb2.OUT_OF_RANGE: INVALID_REQUEST,
    code_pb2.NOT_FOUND: NOT_FOUND,
    code_pb2.RESOURCE_EXHAUSTED: OVERLOADED,
    code_pb2.UNAVAILABLE: INVENTORY_UNAVAILABLE,
    code_pb2.CANCELLED: INVENTORY_UNAVAILABLE,
    code_pb2.UNIMPLEMENTED: HttpKind.NOT_IMPLEMENTED.value,
}
_HIDDEN = "Something went wrong on our side. It has been logged under the id in `instance`."


def problem_of_status(status: status_pb2.Status, *, reads_only: bool) -> Problem:
    """Translate what inventory answered, with the details that it attached."""
    info, violations, retry_after = _details(status)
    kind = KINDS.get(info.reason) if info.reason else _kind_of_code(status.code, reads_only=reads_only)
    kind = kind or INTERNAL
    # What no reason vouches for, such as a library's own words, is not for everybody's eyes.
    told = bool(info.reason) or kind is INVALID_REQUEST
    detail = status.message if told and kind is not INTERNAL else _HIDDEN if kind is INTERNAL else kind.title
    return Problem(kind, detail or kind.title, violations, dict(info.metadata), retry_after)


def _kind_of_code(code: int, *, reads_only: bool) -> Kind:
    if code == code_pb2.DEADLINE_EXCEEDED:
        return DEADLINE_IN_QUEUE if reads_only else OUTCOME_UNKNOWN
    return _KIND_OF_CODE.get(code, INTERNAL)


def _details(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, list[Violation], float | None]:
    info = error_details_pb2.ErrorInfo()
    violations: list[Violation] = []
    retry_after: float | None = None
    for packed in status.details:
        name = packed.type_url.rpartition(".")[2]
        try:
            if name == "ErrorInfo":
                packed.Unpack(info)
            elif name == "RetryInfo":
                retry = error_details_pb2.RetryInfo.FromString(packed.value)
                retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            else:
                violations += _violations(name, packed.value)
        except DecodeError:
            continue
    return info, violations, retry_after


def _violations(name: str, value: bytes) -> list[Violation]:
    if name == "BadRequest":
        bad = error_details_pb2.BadRequest.FromString(value)
        return [{"field": json_path(v.field), "description": v.description} for v in bad.field_violations]
    if name == "PreconditionFailure":
        failure = error_details_pb2.PreconditionFailure.FromString(value)
        return [{"type": v.type, "subject": v.subject, "description": v.description} for v in failure.violations]
    if name == "QuotaFailure":
        quota = error_details_pb2.QuotaFailure.FromString(value)
        return [{"subject": v.subject, "description": v.description} for v in quota.violations]
    return []


def json_path(path: str) -> str:
    """Turn a path of proto names into one of JSON names: `hold_time` into `holdTime`."""
    head, *rest = path.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
