"""What happened in a run. A run in which the faults did not have their effects proves nothing: it is void."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from lab.chaos.history import Kind
from lab.chaos.judge.case import Case
from lab.chaos.judge.operations import Key, Operation, numbers
from lab.chaos.judge.pace import paces

KILL_IN_COMMIT = "kill-in-commit"
"""The action of the fault that ends a process, or its connection, while it waits for a COMMIT."""

NEEDED = {
    "unknown_outcomes": "no outcome was unknown",
    "replays": "nothing was replayed",
    "sell_outs": "nothing was sold out",
    "kills_in_commit": "no process was killed inside COMMIT",
}

_STEADY_SECONDS = 1.0
"""The maximum difference between readings of both clocks: a busy machine can stop a process between the two."""


def witnessed(case: Case) -> Mapping[str, int]:
    """Count the events that make a run meaningful."""
    granted = [operation for operation in case.operations if operation.is_ok]
    refusals = Counter(operation.reason for operation in case.operations if operation.is_refused)
    kinds = Counter(movement.kind for book in case.books.values() for movement in book.movements)
    unknown = [operation for intent in case.intents for operation in intent.operations if operation.is_unknown]
    return {
        "operations": len(case.operations),
        "acknowledged": len(granted),
        "movements": kinds.total(),
        "unknown_outcomes": len(unknown),
        "resolved_unknowns": len(unknown) - len(unresolved(case)),
        "replays": sum(operation.replayed for operation in case.operations),
        "concurrent_same_keys": _concurrent_same_keys(case),
        "request_ids_reused": refusals["REQUEST_ID_REUSED"],
        "sell_outs": refusals["INSUFFICIENT_STOCK"],
        "limit_refusals": refusals["CUSTOMER_LIMIT_REACHED"],
        "expired_refusals": refusals["RESERVATION_EXPIRED"],
        "extension_refusals": refusals["EXTENSION_LIMIT_REACHED"],
        "pause_refusals": refusals["SALE_PAUSED"],
        "window_refusals": refusals["SALE_CLOSED"] + refusals["SALE_NOT_OPEN"],
        "expected_versions": sum(operation.expected_version is not None for operation in granted),
        "version_refusals": refusals["STOCK_CHANGED"],
        "expiries": kinds["EXPIRE"],
        "late_confirms": _late_confirms(case),
        "transfers": kinds["TRANSFER"] // 2,
        "watch_events": sum(bool(event.answer) for event in case.events if event.kind is Kind.WATCH),
        "watch_resumes": _watch_resumes(case),
        "faults": sum(event.kind is Kind.FAULT and event.reason != "end" for event in case.events),
        "kills_in_commit": sum(event.action == KILL_IN_COMMIT and event.reason != "end" for event in case.events),
    }


def void_because(case: Case, counts: Mapping[str, int]) -> list[str]:
    """Return the reasons why the run proves nothing; empty if it does."""
    reasons = [reason for name, reason in NEEDED.items() if not counts[name]]
    if left := unresolved(case):
        reasons.append(f"{numbers(left)} have an unknown outcome and were not sent again")
    if "healed" in case.phases and None in paces(case.events):
        reasons.append("too little was measured to tell whether it is as fast as before the faults")
    offsets = [event.wall - event.at for event in case.events]
    if offsets and max(offsets) - min(offsets) > _STEADY_SECONDS:
        reasons.append("the machine's clock was set meanwhile, by which times are compared")
    return reasons


def unresolved(case: Case) -> list[Operation]:
    """Return operations with an unknown outcome that have a key, but no answer to any request with it."""
    return [
        operation
        for intent in case.intents
        if intent.first.has_key and not intent.acknowledged
        for operation in intent.operations
        if operation.is_unknown and not any(_settles(other, operation) for other in intent.operations)
    ]


def _settles(other: Operation, unknown: Operation) -> bool:
    return other.is_refused and other.invoked >= unknown.invoked


def _concurrent_same_keys(case: Case) -> int:
    """Return operations that began while another with the same key was under way."""
    groups: dict[Key, list[Operation]] = defaultdict(list)
    for operation in case.operations:
        if operation.request.get("request_id"):
            groups[operation.key].append(operation)
    return sum(
        later.invoked < max(earlier.completed for earlier in group[:number])
        for group in groups.values()
        for number, later in enumerate(group)
        if number
    )


def _late_confirms(case: Case) -> int:
    lives = [life for book in case.books.values() for life in book.lives.values()]
    return sum({"EXPIRE", "CONFIRM"} <= {movement.kind for movement in life} for life in lives)


def _watch_resumes(case: Case) -> int:
    openings = [event.request for event in case.events if event.kind is Kind.WATCH and event.request]
    return sum(bool(request.get("resume_token") or int(request.get("after_sequence") or 0)) for request in openings)
