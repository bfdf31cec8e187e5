"""After healing everything is as before the faults. Promise 8."""

from collections.abc import Iterator, Sequence

from lab.chaos.history import LEFT
from lab.chaos.judge.case import Case
from lab.chaos.judge.operations import Operation
from lab.chaos.judge.pace import Pace, paces
from lab.chaos.judge.verdict import Violation, violation

RECOVERY_SECONDS = 5.0
"""How long after the beginning of the phase heal requests may still be slow or refused."""
SLOWER, COSTLIER = 2.0, 1.4
"""The maximum ratio of an operation's time, relative to the yardsticks, to that before the faults, and the maximum
ratio of CPU time. Without faults, and with other load that left a tenth of two cores, the slowest of many measurements
was 1.5 to 2 times the fastest, and 1.3 times in CPU time."""
USUAL_SECONDS = 1.0
"""The maximum time of 99 of 100 operations from then on."""
LONGEST_SECONDS = 5.0
"""The maximum time of any operation; far above USUAL_SECONDS, because two cores carry the whole run."""
QUIET_SECONDS = 0.02
"""The maximum time of an empty call and a commit together on an idle machine. If they take longer, operations may
take longer by the same difference."""

BUSY_SHARE = 0.05
"""The maximum share of operations that may be refused with a hint to retry. Such a refusal keeps the promise, and two
cores are easily busy, but it must be rare."""

_BROKEN = {"DATABASE_UNAVAILABLE", "INVENTORY_UNAVAILABLE", "DRAINING"}
_BUSY = {"OVERLOADED", "RATE_LIMITED", "DEADLINE_IN_QUEUE"}


def violations(case: Case) -> Iterator[Violation]:
    yield from (violation("leak", leak) for leak in case.leaks)
    calm, healed = paces(case.events)
    if calm and healed:
        yield from _slower(calm, healed)
    heal = case.phases.get("heal")
    if heal is None:
        return
    later = [operation for operation in case.operations if operation.invoked >= heal.at + RECOVERY_SECONDS]
    yield from _unavailable(later)
    yield from _slow(later, max(1.0, healed.yardsticks_seconds / QUIET_SECONDS) if healed else 1.0)


def _slower(calm: Pace, healed: Pace) -> Iterator[Violation]:
    """Check that an operation takes as much time and CPU as before the faults."""
    told = f"after healing an operation takes {healed}; before the faults {calm}"
    if healed.cost > SLOWER * calm.cost:
        yield violation("slow-after-healing", f"{healed.cost / calm.cost:.1f} times as slow: {told}.")
    if healed.cpu_seconds > COSTLIER * calm.cpu_seconds:
        yield violation(
            "costly-after-healing", f"{healed.cpu_seconds / calm.cpu_seconds:.1f} times as much CPU: {told}."
        )


def _unavailable(operations: Sequence[Operation]) -> Iterator[Violation]:
    """Check that after the repair no request is refused because of faults, and that every outcome is known."""
    for operation in operations:
        if (operation.is_unknown and operation.reason not in LEFT) or operation.reason in _BROKEN:
            told = operation.reason or "no answer"
            text = f"Operation {operation.number}, {operation.action}, in phase {operation.phase}: {told}."
            yield violation("unavailable-after-healing", text)
    busy = [operation for operation in operations if operation.reason in _BUSY]
    if len(busy) > BUSY_SHARE * len(operations):
        told = f"{len(busy)} of {len(operations)} operations, {busy[0].number} the first, were told to come back"
        yield violation("unavailable-after-healing", f"{told}.")


def _slow(operations: Sequence[Operation], slowed: float) -> Iterator[Violation]:
    """Check that 99 of 100 take at most USUAL_SECONDS, and all at most LONGEST_SECONDS, corrected by the yardsticks."""
    took = sorted((one.completed - one.invoked, one.number) for one in operations if not one.is_unknown)
    if not took:
        return
    usual, number = took[(len(took) - 1) * 99 // 100]
    if usual > slowed * USUAL_SECONDS:
        yield violation(
            "slow-after-healing", f"99 of 100 operations took up to {usual:.2f} s, as operation {number} did."
        )
    longest, number = took[-1]
    if longest > slowed * LONGEST_SECONDS:
        yield violation("slow-after-healing", f"Operation {number} took {longest:.2f} s.")
