"""Commits that may be visible and then lost, because they were never acknowledged.

A commit is seen by others only when the standby has it, unless the wait for that was broken off: its backend was
terminated, or the primary came back from a crash. Reads and refusals may then have shown what a failover to a standby
that lags takes back. Acknowledgements and watches wait until what they tell is durable.
"""

from dataclasses import replace

from lab.chaos.history import Event, Kind
from lab.chaos.judge.case import Case

LOSSY_PROMOTION = "promote-lagging-standby"
"""The fault's action that makes a standby the primary which has not all that the primary had."""
LAG_SECONDS = 15.0
"""How long before its promotion such a standby lacked something, at most."""

_READS = {"get_item", "get_reservation"}


def without_what_may_be_lost(case: Case) -> Case:
    """Return the case without reads and refusals that may rest on what a promotion took back."""
    shadows = _shadows(case)
    if not shadows:
        return case
    dropped = {
        operation.number
        for operation in case.operations
        if (operation.is_refused or operation.action in _READS)
        and any(begin <= operation.completed and operation.invoked <= end for begin, end in shadows)
    }
    return replace(case, events=[event for event in case.events if not _is_of(event, dropped)])


def _shadows(case: Case) -> list[tuple[float, float]]:
    """From when each such promotion's standby may have lagged, until the promotion was over."""
    told = [event for event in case.events if event.kind is Kind.FAULT and event.action == LOSSY_PROMOTION]
    begins = [event.at for event in told if event.reason == "begin"]
    ends = [event.at for event in told if event.reason == "end"]
    last = case.events[-1].at if case.events else 0.0
    return [(begin - LAG_SECONDS, min((end for end in ends if end > begin), default=last)) for begin in begins]


def _is_of(event: Event, operations: set[int]) -> bool:
    return event.kind not in {Kind.WATCH, Kind.FAULT, Kind.PHASE, Kind.YARDSTICK} and event.operation in operations
