"""How long operations take beside yardsticks, an empty call and a bare commit, and how much CPU they take.

A neighbour's load slows all three alike, and for moments only. So they are compared within slots of half a second,
and the middle one of the slots counts. CPU is what the services and their PostgreSQL have used, whoever else uses some.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from lab.chaos.history import Event, Kind, completions

EMPTY_CALL, COMMIT, CPU = "empty-call", "commit", "cpu"
"""Yardsticks, as actions of events. CPU: the seconds that all have used so far, when a phase begins and ends."""
SLOT_SECONDS = 0.5
ENOUGH_SLOTS = 4
"""In which there are operations and both yardsticks; of fewer, the middle one says little."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast operations are for the machine as it is at the moment.

    `cost` is an operation's time as a multiple of an empty call and a commit together.
    """

    cost: float
    cpu_seconds: float
    operation_seconds: float
    empty_call_seconds: float
    commit_seconds: float

    @property
    def yardsticks_seconds(self) -> float:
        """What an empty call and a commit take together."""
        return self.empty_call_seconds + self.commit_seconds

    def __str__(self) -> str:
        parts = (self.operation_seconds, self.cpu_seconds, self.empty_call_seconds, self.commit_seconds)
        operation, cpu, call, commit = (f"{1000 * seconds:.1f} ms" for seconds in parts)
        return f"{operation}, {self.cost:.1f} times an empty call ({call}) and a commit ({commit}); CPU {cpu}"


def paces(events: Sequence[Event]) -> tuple[Pace | None, Pace | None]:
    """That of the calm before the faults, and that after healing; None for what was not measured, or too little."""
    starts = {event.action: event.at for event in events if event.kind is Kind.PHASE}
    calm = pace(events, starts["calm"], starts["load"]) if "calm" in starts else None
    healed = pace(events, starts["healed"], starts["replay"]) if "healed" in starts else None
    return calm, healed


def pace(events: Sequence[Event], begin: float, end: float) -> Pace | None:
    """Of what began within a time and was answered."""
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
    """Return when a yardstick was taken, and what it said."""
    return [(event.at, float(event.answer["seconds"])) for event in events if event.action == name]


def _by_slot(measured: Iterable[tuple[float, float]]) -> dict[int, float]:
    """Return the mean of each slot that there is anything in."""
    slots: dict[int, list[float]] = defaultdict(list)
    for at, seconds in measured:
        slots[int(at / SLOT_SECONDS)].append(seconds)
    return {slot: fmean(seconds) for slot, seconds in slots.items()}
