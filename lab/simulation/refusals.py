"""Judges whether refusals were true, and in time.

A refusal was right if the contract required exactly this one at some moment between the call and its answer: by the
commits that were visible then, by the server's clock, and within a batch by the movements of that batch. A shortage may
come from memory, so it may have been true a little earlier.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Any

from holdfast_inventory.domain.commands import Confirm, Create, Extend, Return
from holdfast_inventory.domain.errors import (
    CustomerLimitReached,
    DeadlineInQueue,
    ExtensionLimitReached,
    InsufficientStock,
    InvalidRequest,
    NotFound,
    NotReturnable,
    RequestIdReused,
    ReservationHeld,
    SaleClosed,
    SaleNotOpen,
    SalePaused,
)
from lab.simulation.history import Call
from lab.simulation.loop import VirtualTimeLoop
from lab.simulation.oracle import Refusal, SaleThen
from lab.simulation.record import SaleRecord
from lab.simulation.server import Server

_STALE_SECONDS = 0.2
_LATE_SECONDS = 0.5
"""The interval at which the product looks for commands whose deadline has passed."""
_SOONEST_RETRY_SECONDS = 1.0

_JUDGED: dict[type, tuple[type, ...]] = {
    Create: (
        RequestIdReused, SaleNotOpen, SalePaused, SaleClosed, InvalidRequest, NotFound, CustomerLimitReached,
        InsufficientStock,
    ),
    Confirm: (SaleNotOpen, SalePaused, SaleClosed, CustomerLimitReached, InsufficientStock),
    Extend: (ExtensionLimitReached,),
    Return: (ReservationHeld, NotReturnable),
}  # fmt: skip


def late_refusals(calls: Sequence[Call], loop: VirtualTimeLoop) -> Iterator[str]:
    """Check that a command whose deadline passes in the queue is answered then, not when its turn comes."""
    for call in calls:
        if isinstance(call.answer, DeadlineInQueue) and call.alone:
            due = max(call.deadline or 0.0, call.invoked[1] if call.queued_at is None else call.queued_at)
            answered = _answered_at(call)
            late_seconds = answered - due - loop.stalled_seconds(due, answered)
            if late_seconds > _LATE_SECONDS:
                yield f"call {call.number} is told {late_seconds:.2f} s late that its deadline has passed"


def _answered_at(call: Call) -> float:
    assert call.answered is not None
    return call.answered[1]


def false_refusals(record: SaleRecord, calls: Sequence[Call], server: Server) -> Iterator[str]:
    """Check that every refusal had to be given, for that reason, and that no replay of a granted command is refused."""
    refused = [call for call in calls if isinstance(call.answer, _JUDGED.get(type(call.command), ()))]
    granted = _granted(record) if refused else {}
    for call in refused:
        told = f"call {call.number} ({type(call.command).__name__}) was refused with {call.answer!r}"
        if isinstance(call.command, Extend):
            if not _was_beyond_the_latest(call, record, server):
                yield f"{told}, which was never true"
        elif demanded := _demanded_instead(call, record, server):
            yield f"{told}, and had to get {' or '.join(sorted(demanded))}"
        if _was_granted(call, granted):
            yield f"{told}, though it had been granted before"


def _granted(record: SaleRecord) -> dict[Any, float]:
    """Return when each reservation first became visible."""
    found: dict[Any, float] = {}
    for (what, key, *_), commit in record.first_written.items():
        if what == "state" and commit.seen_at is not None:
            found.setdefault(key, commit.seen_at)
    return found


def _was_granted(call: Call, granted: dict[Any, float]) -> bool:
    is_the_same = isinstance(call.command, Create) and not isinstance(call.answer, RequestIdReused)
    return is_the_same and granted.get(call.command.reservation_id, inf) < call.invoked[1]


# Precedence of reasons


def _demanded_instead(call: Call, record: SaleRecord, server: Server) -> set[str]:
    """Return the names of all possible answers; empty if the given answer is among them."""
    names: set[str] = set()
    for sale, now in _moments(call, record, server):
        demanded = sale.refusal(call.command, now)
        if demanded is not None and _is_told(call, demanded, server):
            return set()
        names.add("the units" if demanded is None else demanded[0].__name__)
    return names


def _is_told(call: Call, demanded: Refusal, server: Server) -> bool:
    kind, *facts = demanded
    refusal = call.answer
    if type(refusal) is not kind:
        return False
    match refusal:
        case SaleNotOpen():
            return facts == [refusal.open_at, _decided_at(refusal)]
        case InvalidRequest():
            return facts == [violation.field for violation in refusal.violations]
        case NotFound():
            return facts == [refusal.resource]
        case NotReturnable():
            return facts == [refusal.item_id, refusal.asked, refusal.left]
        case CustomerLimitReached():
            return facts == [refusal.limit, refusal.used, refusal.item_id]
        case InsufficientStock():
            [first_end] = facts
            return _is_told_when(call, refusal.retry_after_seconds, first_end, server)
    return True


def _is_told_when(call: Call, retry_after_seconds: float | None, first_end: datetime | None, server: Server) -> bool:
    """Check that a shortage names a retry time if a retry may help, and no later than the end of the first hold.

    Several lines may have been remembered from different moments, so no single moment need explain all of them.
    """
    if len(getattr(call.command, "lines", ())) > 1:
        return True
    if retry_after_seconds is None or first_end is None:
        return retry_after_seconds is None and first_end is None
    earliest = server.at(call.invoked[1]) + timedelta(seconds=retry_after_seconds)
    return retry_after_seconds == _SOONEST_RETRY_SECONDS or (
        retry_after_seconds > _SOONEST_RETRY_SECONDS and earliest <= first_end
    )


def _moments(call: Call, record: SaleRecord, server: Server) -> Iterator[tuple[SaleThen, datetime]]:
    """Yield the sale's states during the call: between commits, and within the commits of that time."""
    is_remembered = isinstance(call.answer, InsufficientStock) and isinstance(call.command, Create)
    begin, end = call.invoked[1] - (_STALE_SECONDS if is_remembered else 0.0), _answered_at(call)
    sale = SaleThen(record.sale_id)
    for commit, following in pairwise([*record.seen, None]):
        assert commit is not None
        seen_at = commit.seen_at or 0.0
        if seen_at > end:
            return
        for entry in sale.learn(commit):
            sale.move(entry)
            if seen_at >= begin:
                yield sale, entry.at
        sale.keep(commit)
        until = min(end, inf if following is None else following.seen_at or 0.0)
        if until >= begin:
            turns = {*sale.turns(), _decided_at(call.answer)}
            for now in _times(server.at(max(begin, seen_at)), server.at(until), turns):
                yield sale, now


def _times(first: datetime, last: datetime, turns: set[datetime | None]) -> list[datetime]:
    return [first, last, *(turn for turn in turns if turn is not None and first < turn < last)]


def _decided_at(refusal: object) -> datetime | None:
    """Return when it was decided, if the refusal has a time."""
    if isinstance(refusal, SaleNotOpen):
        return refusal.open_at - timedelta(seconds=refusal.retry_after_seconds)
    return None


# Extensions


def _was_beyond_the_latest(call: Call, record: SaleRecord, server: Server) -> bool:
    """Check that the requested time is later than the hold's latest possible end, and that there was a hold."""
    row = record.reservations.get(call.command.reservation_id)
    if row is None or call.command.customer not in ("", row["customer"]):
        return False
    latest = row["created_at"] + record.sale["max_hold_time"]
    # The end of a hold is visible when it is committed, which may be some time after it was decided.
    ending = record.first_written[("state", row["reservation_id"], row["state"])] if row["ended_at"] else None
    was_over = row["expires_at"] < server.at(call.invoked[1]) or (
        ending is not None and ending.seen_at is not None and ending.seen_at < call.invoked[1]
    )
    was_held = row["created_at"] <= server.at(_answered_at(call)) and not was_over
    return bool(was_held and call.answer.latest_expires_at == latest < call.command.expires_at)
