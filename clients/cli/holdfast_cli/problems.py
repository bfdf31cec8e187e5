"""How failures are told: what happened, what to do, and an exit code for scripts."""

from enum import IntEnum
from typing import Final

import grpc

from holdfast_client import HoldfastError, Refusal, Unanswered

_Code = grpc.StatusCode


class Exit(IntEnum):
    """The exit codes, as docs/command-line.md explains them."""

    FAULT = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    NOT_ALLOWED = 5
    TRY_AGAIN = 6


_EXITS: Final = {
    _Code.INVALID_ARGUMENT: Exit.USAGE,
    _Code.NOT_FOUND: Exit.NOT_FOUND,
    _Code.UNAUTHENTICATED: Exit.NOT_ALLOWED,
    _Code.PERMISSION_DENIED: Exit.NOT_ALLOWED,
    _Code.RESOURCE_EXHAUSTED: Exit.TRY_AGAIN,
    _Code.UNAVAILABLE: Exit.TRY_AGAIN,
    _Code.DEADLINE_EXCEEDED: Exit.TRY_AGAIN,
    _Code.CANCELLED: Exit.TRY_AGAIN,
    _Code.FAILED_PRECONDITION: Exit.REFUSED,
    _Code.ABORTED: Exit.REFUSED,
    _Code.ALREADY_EXISTS: Exit.REFUSED,
}
# Where this command line has the remedy. The others have their own words, and say whether to try again.
_ADVICE: Final = {
    "UNAUTHENTICATED": "Store a key with `holdfast profile set`, or name its file in HOLDFAST_KEY_FILE.",
    "PERMISSION_DENIED": "Use a profile whose key has one of these scopes: `holdfast --help` explains --profile.",
    "NOT_FOUND": "`holdfast sale list`, `schedule list`, `webhook list` and `reservation find` show what there is.",
    "ALREADY_EXISTS": "Choose another id, or look at it with `show`.",
    "SALE_NOT_OPEN": "`holdfast sale open SALE` opens it now.",
    "SALE_PAUSED": "`holdfast sale resume SALE` lets customers in again.",
    "BELOW_HELD": "Release holds first, or take fewer units away.",
    "STOCK_CHANGED": "Read the item again with `holdfast item show`, and decide again.",
    "SALE_CHANGED": "Look at it again with `holdfast sale show`, and decide again.",
    "REQUEST_ID_REUSED": "This request id belongs to another request: choose a new one.",
}


def exit_of(error: HoldfastError) -> Exit:
    """Return the exit code for an error."""
    return _EXITS.get(error.code, Exit.FAULT) if isinstance(error, Refusal | Unanswered) else Exit.FAULT


def advice(error: HoldfastError, address: str) -> str:
    """Return what the user can do."""
    if isinstance(error, Unanswered):
        return (
            f"Is Holdfast running at {address}, and is this the port of gRPC? --address and --profile choose another."
            " The request may have been applied: look, or send it again with the same --request-id."
        )
    if not isinstance(error, Refusal):
        return ""
    if error.reason in _ADVICE:
        return _ADVICE[error.reason]
    if not error.retryable:
        return ""
    return f"Try again in {error.retry_after_seconds:.0f} s." if error.retry_after_seconds else "Try again."


def as_document(error: HoldfastError) -> dict[str, object]:
    """Return an error for programs."""
    if isinstance(error, Refusal):
        details = {"reason": error.reason, "retryable": error.retryable, "metadata": dict(error.metadata)}
        return details | {"message": error.message, "violations": dict(error.violations)}
    return {"reason": "UNANSWERED", "retryable": True, "message": str(error)}
