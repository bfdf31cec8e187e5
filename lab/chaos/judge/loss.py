"""Commits that may be visible and then lost, which is allowed because they were never acknowledged.

A commit becomes visible to others when the standby has it, or earlier if that wait was interrupted: its backend was
terminated, or the primary recovered from a crash. Reads and refusals may then have shown what is lost by a failover
to a standby that lags. Acknowledgements and watches wait until their content is durable.
"""

from dataclasses import replace

from lab.chaos.history import Event, Kind
from lab.chaos.judge.case import Case

LOSSY_PROMOTION = "promote-lagging-standby"
"""The action of the fault that promotes a standby which lacks commits of the primary."""
LAG_SECONDS = 15.0
"""The maximum time before its promotion for which such a standby may have lagged."""

_READS = {"get_item", "get_reservation"}


def without_what_may_be_lost(case: Case) -> Case:
    """Return the case without reads and refusals that may be based on commits that a promotion lost."""
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
    """Return for each such promotion the time from which its standby may have lagged, and the promotion's end."""
    told = [event for event in case.events if event.kind is Kind.FAULT and event.action == LOSSY_PROMOTION]
    begins = [event.at for event in told if event.reason == "begin"]
    ends = [event.at for event in told if event.reason == "end"]
    last = case.events[-1].at if case.events else 0.0
    return [(begin - LAG_SECONDS, min((end for end in ends if end > begin), default=last)) for begin in begins]


def _is_of(event: Event, operations: set[int]) -> bool:
    return event.kind not in {Kind.WATCH, Kind.FAULT, Kind.PHASE, Kind.YARDSTICK} and event.operation in operations
