"""The edge's own refusals, for REST and for gRPC, in one table."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2

from holdfast_chassis.contract import ERROR_DOMAIN, REASONS, RETRYABLE_KEY, Reason

# One of these at random, so that clients that are refused together do not return together.
_RETRY_SECONDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row: its condition (Envoy's response flags, else Envoy's status), and its text.

    The properties of the reason are in the contract; `code` is the gRPC status if it differs here.
    """

    name: str
    detail: str
    flags: Sequence[str] = ()
    statuses: range = range(400, 600)
    code: "code_pb2.Code | None" = None

    @property
    def reason(self) -> Reason:
        """The reason's properties in the contract."""
        return REASONS[self.name]


_SAME_ID = "Retry with the same request id."

_NOT_SERVED = "The request is not valid HTTP, or asks for something that is not supported."

REFUSALS: Sequence[Refusal] = (
    Refusal("RATE_LIMITED", "Slow down.", statuses=range(429, 430)),
    Refusal("OVERLOADED", "The edge is at its limit; nothing was done.", flags=["OM", "UO"]),
    Refusal("DRAINING", "This edge is shutting down; use another.", flags=["LH"]),
    Refusal(
        "INVENTORY_UNAVAILABLE",
        f"No replica can be reached; nothing was done. {_SAME_ID}",
        flags=["UH", "UF", "NC", "DF"],
    ),
    Refusal("SLOW_SENDER", "The request was not passed on.", statuses=range(408, 409)),
    Refusal(
        "OUTCOME_UNKNOWN",
        f"The answer was lost, or did not come in time. {_SAME_ID}",
        flags=["UC", "UR", "LR", "UT", "UPE", "SI", "DT", "UMSDR"],
    ),
    Refusal("BODY_TOO_LARGE", "The limit is 1 MiB.", statuses=range(413, 414)),
    Refusal("HEADERS_TOO_LARGE", "The limits are 100 headers and 12 KiB.", statuses=range(431, 432)),
    Refusal("NOT_FOUND", "The path does not exist.", statuses=range(404, 405), code=code_pb2.UNIMPLEMENTED),
    Refusal("INVALID_REQUEST", _NOT_SERVED, statuses=range(400, 500)),
    # A transfer coding that Envoy does not know.
    Refusal("INVALID_REQUEST", _NOT_SERVED, statuses=range(501, 502)),
    Refusal("INTERNAL", "It has been logged with the id in `instance`."),
)


def local_reply_config() -> dict[str, Any]:
    """Return the table as Envoy's LocalReplyConfig. The first matching row is used."""
    return {"mappers": [mapper for refusal in REFUSALS for mapper in _mappers(refusal)]}


def _mappers(refusal: Refusal) -> Iterator[dict[str, Any]]:
    """Yield a row for REST and for gRPC; if a retry helps, once per delay, of which Envoy chooses one at random."""
    delays = _RETRY_SECONDS if refusal.reason.retryable else (None,)
    for make in (_for_grpc, _for_rest):
        for position, delay in enumerate(delays):
            yield make(refusal, [*_conditions(refusal), _REFUSED, *_one_in(len(delays) - position)], delay)


def _one_in(count: int) -> list[dict[str, Any]]:
    if count == 1:
        return []
    chance = {"numerator": 1_000_000 // count, "denominator": "MILLION"}
    # An independent random number: the usual one depends on the request id, which a client can choose.
    dice = {"runtime_key": f"refusals.one_in_{count}", "percent_sampled": chance, "use_independent_randomness": True}
    return [{"runtime_filter": dice}]


def _for_grpc(refusal: Refusal, conditions: list[dict[str, Any]], delay: int | None) -> dict[str, Any]:
    headers = {"grpc-status": str(_code(refusal)), "grpc-status-details-bin": _packed(refusal, delay)}
    asked_in_grpc = {
        "header_filter": {"header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}}
    }
    return {
        "filter": {"and_filter": {"filters": [asked_in_grpc, *conditions]}},
        "headers_to_add": _set(headers),
        "body": {"inline_string": f"{refusal.reason.title}. {refusal.detail}"},
    }


def _for_rest(refusal: Refusal, conditions: list[dict[str, Any]], delay: int | None) -> dict[str, Any]:
    headers = {"cache-control": "no-store"}
    if refusal.reason.http_status in (429, 503):
        headers["retry-after"] = str(delay)
    return {
        "filter": {"and_filter": {"filters": conditions}},
        "headers_to_add": _set(headers),
        "status_code": refusal.reason.http_status,
        "body_format_override": {"content_type": "application/problem+json", "json_format": _problem(refusal)},
    }


def _problem(refusal: Refusal) -> dict[str, Any]:
    return {
        "type": refusal.reason.problem_type,
        "title": refusal.reason.title,
        "status": refusal.reason.http_status,
        "detail": refusal.detail,
        "instance": "urn:request:%REQ(X-REQUEST-ID):128%",
        "reason": refusal.name,
        "retryable": refusal.reason.retryable,
    }


def _packed(refusal: Refusal, delay: int | None) -> str:
    """Return the google.rpc.Status as the value of a binary header."""
    status = status_pb2.Status(code=_code(refusal), message=f"{refusal.reason.title}. {refusal.detail}")
    metadata = {RETRYABLE_KEY: "true" if refusal.reason.retryable else "false"}
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=refusal.name, domain=ERROR_DOMAIN, metadata=metadata))
    if delay is not None:
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=delay)))
    return base64.b64encode(status.SerializeToString(deterministic=True)).decode()


def _code(refusal: Refusal) -> int:
    return refusal.reason.code if refusal.code is None else int(refusal.code)


def _set(headers: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for key, value in headers.items()
    ]


def _conditions(refusal: Refusal) -> list[dict[str, Any]]:
    if refusal.flags:
        return [{"response_flag_filter": {"flags": list(refusal.flags)}}]
    return [_status("GE", refusal.statuses.start), _status("LE", refusal.statuses.stop - 1)]


def _status(op: str, value: int) -> dict[str, Any]:
    key = f"refusals.{op.lower()}_{value}"
    return {"status_code_filter": {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": key}}}}


# Answers of the edge that are not refusals, such as a preflight's, stay as they are.
_REFUSED = _status("GE", 400)
