"""Refusals as RFC 9457 problem details. The properties of a reason, such as its HTTP status, are in the contract."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from holdfast_chassis.contract import REASONS, RETRYABLE_KEY, SERVICES, Reason
from holdfast_chassis.entropy import SYSTEM_ENTROPY, Entropy

MEDIA_TYPE = "application/problem+json"
_RETRY_SPREAD_SECONDS = 3.0
# Refusals that many callers get at once, besides those of overload and outages.
_STAMPEDES = frozenset({"INSUFFICIENT_STOCK", "SALE_PAUSED"})

# The reasons of the gateway's own refusals.
BODY_TOO_LARGE = REASONS["BODY_TOO_LARGE"]
DEADLINE_IN_QUEUE = REASONS["DEADLINE_IN_QUEUE"]
DRAINING = REASONS["DRAINING"]
HEADERS_TOO_LARGE = REASONS["HEADERS_TOO_LARGE"]
INTERNAL = REASONS["INTERNAL"]
INVALID_REQUEST = REASONS["INVALID_REQUEST"]
INVENTORY_UNAVAILABLE = REASONS["INVENTORY_UNAVAILABLE"]
METHOD_NOT_ALLOWED = REASONS["METHOD_NOT_ALLOWED"]
ISSUER_UNAVAILABLE = REASONS["ISSUER_UNAVAILABLE"]
NOT_ACCEPTABLE = REASONS["NOT_ACCEPTABLE"]
NOT_FOUND = REASONS["NOT_FOUND"]
NOT_IMPLEMENTED = REASONS["NOT_IMPLEMENTED"]
OUTCOME_UNKNOWN = REASONS["OUTCOME_UNKNOWN"]
OVERLOADED = REASONS["OVERLOADED"]
PERMISSION_DENIED = REASONS["PERMISSION_DENIED"]
RATE_LIMITED = REASONS["RATE_LIMITED"]
SLOW_SENDER = REASONS["SLOW_SENDER"]
UNAUTHENTICATED = REASONS["UNAUTHENTICATED"]
UNSUPPORTED_MEDIA_TYPE = REASONS["UNSUPPORTED_MEDIA_TYPE"]
WATCH_EXPIRED = REASONS["WATCH_EXPIRED"]


Violation = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal. `retry_after_seconds`: the delay before a retry, if it is known.

    `retryable`: whether a retry can help; None: as the contract says for the reason.
    """

    reason: Reason
    detail: str
    violations: Sequence[Violation] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None
    headers: tuple[tuple[str, str], ...] = ()
    retryable: bool | None = None

    def body(self, instance: str) -> bytes:
        """Return it as JSON. `instance` is the id of the request."""
        return orjson.dumps(self.document(instance))

    def document(self, instance: str = "") -> dict[str, Any]:
        """Return the members of the problem, without empty ones."""
        reason = self.reason
        document: dict[str, Any] = {
            "type": reason.problem_type,
            "title": reason.title,
            "status": reason.http_status,
            "detail": self.detail,
            "reason": reason.name,
            "retryable": reason.retryable if self.retryable is None else self.retryable,
        }
        if instance:
            document["instance"] = f"urn:request:{instance}"
        if self.retry_after_seconds is not None:
            document["retryAfterSeconds"] = max(1, math.ceil(self.retry_after_seconds))
        if self.violations:
            document["violations"] = list(self.violations)
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return document

    def response_headers(self, entropy: Entropy = SYSTEM_ENTROPY) -> list[tuple[str, str]]:
        """Return its headers: the media type, the required credential, and the retry delay."""
        headers = [("content-type", MEDIA_TYPE), ("cache-control", "no-store"), *self.headers]
        if self.reason in (UNAUTHENTICATED, PERMISSION_DENIED):
            headers.append(("www-authenticate", self._challenge()))
        seconds = self.retry_after_seconds
        if self.reason.http_status in (429, 503) or (seconds is not None and self.reason.name in _STAMPEDES):
            # The header has whole seconds only; they must differ, so that clients do not return all at once.
            seconds = (seconds or 0.0) + entropy.uniform(0.0, _RETRY_SPREAD_SECONDS)
        if seconds is not None:
            headers.append(("retry-after", str(max(1, math.ceil(seconds)))))
        return headers

    def _challenge(self) -> str:
        """Return the required kind of credential, and what is wrong with the one that was sent (RFC 6750)."""
        error = "insufficient_scope" if self.reason is PERMISSION_DENIED else self.metadata.get("error")
        facts = {"realm": "holdfast", "error": error, "scope": self.metadata.get("scope")}
        return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in facts.items() if value)


class ProblemError(Exception):
    """A request is refused. It has the problem that says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refuse(reason: Reason, detail: str, *, headers: tuple[tuple[str, str], ...] = ()) -> NoReturn:
    """Raise the problem."""
    raise ProblemError(Problem(reason, detail, headers=headers))


def refuse_field(path: str, description: str) -> NoReturn:
    """Refuse the request because of one field, named as in JSON (`lines[0].quantity`)."""
    violation = {"field": path, "description": description}
    raise ProblemError(Problem(INVALID_REQUEST, f"{path}: {description}", [violation]))


_REASON_OF_CODE: Mapping[int, Reason] = {
    code_pb2.INVALID_ARGUMENT: INVALID_REQUEST,
    code_pb2.OUT_OF_RANGE: INVALID_REQUEST,
    code_pb2.NOT_FOUND: NOT_FOUND,
    code_pb2.RESOURCE_EXHAUSTED: OVERLOADED,
    code_pb2.UNAVAILABLE: INVENTORY_UNAVAILABLE,
    code_pb2.CANCELLED: INVENTORY_UNAVAILABLE,
    code_pb2.UNIMPLEMENTED: NOT_IMPLEMENTED,
}
_HIDDEN = "An internal error occurred. It has been logged with the id in `instance`."


def problem_of_status(status: status_pb2.Status, *, changes_nothing: bool) -> Problem:
    """Convert the inventory's error and its details to a problem."""
    info, violations, retry_after = _details(status)
    reason = REASONS.get(info.reason) if info.reason else _reason_of_code(status.code, changes_nothing=changes_nothing)
    reason = reason or INTERNAL
    # A message without a reason may come from a library, so clients must not see it.
    told = bool(info.reason) or reason is INVALID_REQUEST
    detail = json_words(status.message) if told and reason is not INTERNAL else reason.title
    if reason is INTERNAL:
        detail = _HIDDEN
    elif violations and reason is INVALID_REQUEST:
        detail = "; ".join(f"{each['field']}: {each['description']}" for each in violations)
    metadata = dict(info.metadata)
    retryable = {"true": True, "false": False}.get(metadata.pop(RETRYABLE_KEY, ""))
    return Problem(reason, detail or reason.title, violations, metadata, retry_after, retryable=retryable)


def _reason_of_code(code: int, *, changes_nothing: bool) -> Reason:
    if code == code_pb2.DEADLINE_EXCEEDED:
        return DEADLINE_IN_QUEUE if changes_nothing else OUTCOME_UNKNOWN
    return _REASON_OF_CODE.get(code, INTERNAL)


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
        return [{"field": json_path(v.field), "description": json_words(v.description)} for v in bad.field_violations]
    if name == "PreconditionFailure":
        failure = error_details_pb2.PreconditionFailure.FromString(value)
        return [{"type": v.type, "subject": v.subject, "description": v.description} for v in failure.violations]
    if name == "QuotaFailure":
        quota = error_details_pb2.QuotaFailure.FromString(value)
        return [{"subject": v.subject, "description": v.description} for v in quota.violations]
    return []


def _json_names(messages: Iterable[Descriptor]) -> Iterator[tuple[str, str]]:
    for message in messages:
        yield from ((field.name, field.json_name) for field in message.fields if field.name != field.json_name)
        yield from _json_names(message.nested_types)


_JSON_NAMES = {
    name: json_name
    for file in {service.file for service in SERVICES}
    for each in (file, *file.dependencies)
    if each.package == file.package
    for name, json_name in _json_names(each.message_types_by_name.values())
}
_FIELD_NAME = re.compile(rf"\b({'|'.join(_JSON_NAMES)})\b")


def json_words(text: str) -> str:
    """Replace the names of fields in a sentence by their JSON names: `on_hand` by `onHand`."""
    return _FIELD_NAME.sub(lambda match: _JSON_NAMES[match[1]], text)


def json_path(path: str) -> str:
    """Convert a path of proto names to one of JSON names: `hold_time` to `holdTime`."""
    head, *rest = path.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
