"""The time of operations relative to yardsticks, an empty call and a bare commit, and the CPU time that they take.

Other load on the machine slows all three alike, and only for moments. So they are compared within slots of half a
second, and the median of the slots counts. CPU time is that of the services and of the client backends of PostgreSQL.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from lab.chaos.history import Event, Kind, completions

EMPTY_CALL, COMMIT, CPU = "empty-call", "commit", "cpu"
"""Yardsticks, as actions of events. CPU: the CPU seconds used so far, at the beginning and the end of a phase."""
SLOT_SECONDS = 0.5
ENOUGH_SLOTS = 4
"""The minimum number of slots with operations and both yardsticks: a median of fewer is not meaningful."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The speed of operations relative to the machine's present speed.

    `cost` is an operation's time as a multiple of an empty call and a commit together.
    """

    cost: float
    cpu_seconds: float
    operation_seconds: float
    empty_call_seconds: float
    commit_seconds: float

    @property
    def yardsticks_seconds(self) -> float:
        """The duration of an empty call and a commit together."""
        return self.empty_call_seconds + self.commit_seconds

    def __str__(self) -> str:
        parts = (self.operation_seconds, self.cpu_seconds, self.empty_call_seconds, self.commit_seconds)
        operation, cpu, call, commit = (f"{1000 * seconds:.1f} ms" for seconds in parts)
        return f"{operation}, {self.cost:.1f} times an empty call ({call}) and a commit ({commit}); CPU {cpu}"


def paces(events: Sequence[Event]) -> tuple[Pace | None, Pace | None]:
    """Return the pace before the faults and after healing; None if there are too few measurements."""
    starts = {event.action: event.at for event in events if event.kind is Kind.PHASE}
    calm = pace(events, starts["calm"], starts["load"]) if "calm" in starts else None
    healed = pace(events, starts["healed"], starts["replay"]) if "healed" in starts else None
    return calm, healed


def pace(events: Sequence[Event], begin: float, end: float) -> Pace | None:
    """Return the pace of the operations that began within a time and were answered."""
    pairs = completions(events).values()
    answered = [(asked.at, done.at) for asked, done in pairs if done is not None and done.kind is not Kind.INFO]
    operations = _by_slot((at, done - at) for at, done in answered if begin <= at < end)
    taken = [event for event in events if event.kind is Kind.YARDSTICK and begin <= event.at <= end]
    calls, commits = (_by_slot(_seconds(taken, name)) for name in (EMPTY_CALL, COMMIT))
    slots = operations.keys() & calls.keys() & commits.keys()
    cpu = [seconds for _, seconds in _seconds(taken, CPU)]
    if len(slots) < ENOUGH_SLOTS or not cpu:
        return None
    return Pace(
        cost=median(operations[slot] / (calls[slot] + commits[slot]) for slot in slots),
        cpu_seconds=(cpu[-1] - cpu[0]) / sum(begin <= done < end for _, done in answered),
        operation_seconds=median(operations.values()),
        empty_call_seconds=median(calls.values()),
        commit_seconds=median(commits.values()),
    )


def _seconds(events: Iterable[Event], name: str) -> list[tuple[float, float]]:
    """Return when a yardstick was measured, and its results."""
    return [(event.at, float(event.answer["seconds"])) for event in events if event.action == name]


def _by_slot(measured: Iterable[tuple[float, float]]) -> dict[int, float]:
    """Return the mean of each slot that is not empty."""
    slots: dict[int, list[float]] = defaultdict(list)
    for at, seconds in measured:
        slots[int(at / SLOT_SECONDS)].append(seconds)
    return {slot: fmean(seconds) for slot, seconds in slots.items()}
