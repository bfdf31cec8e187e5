"""The answers of failed calls."""

import asyncio

from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status

from holdfast_chassis.logs import get_logger
from holdfast_inventory.api.call import Call
from holdfast_inventory.api.refusals import Refusal, refusal_of
from holdfast_inventory.domain.errors import DomainError, Internal, OutcomeUnknown

log = get_logger("holdfast.calls")

INTERNAL = refusal_of(Internal())
# Never sent, because the caller has gone away or its deadline has passed.
_GONE = Refusal(Code.CANCELLED, "CANCELLED", "CANCELLED", "", (), Status())
_EXPIRED = Refusal(Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "", (), Status())


def refusal_for(error: BaseException, method: str, call: Call, *, changes_nothing: bool) -> Refusal:
    """Return the refusal for an error of a method: the error itself if it is a refusal, else `Internal`."""
    if isinstance(error, DomainError):
        return refusal_of(error if changes_nothing else hide_unproven(call, error))
    if not isinstance(error, asyncio.CancelledError):
        log.error("call_failed", method=method, request_id=call.request_id, exc_info=error)
    return INTERNAL


def hide_unproven(call: Call, error: DomainError) -> DomainError:
    """Return OutcomeUnknown for a retry's "not applied", which says nothing about the earlier attempt."""
    return OutcomeUnknown() if call.was_sent_before and error.before_anything else error


def cancellation(remaining_seconds: float | None) -> Refusal | None:
    """Return why the transport cancels the current task, for the log; None if the transport does not cancel it.

    A CancelledError from another source would leave the caller waiting until its deadline.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return None
    return _EXPIRED if remaining_seconds is not None and remaining_seconds <= 0 else _GONE
