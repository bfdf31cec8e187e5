"""The plans of runs: all faults, half a minute of them, or a planted bug with the faults that reveal it."""

from functools import partial

from lab.chaos.bugs import BUGS
from lab.chaos.faults import FAULTS
from lab.chaos.run import Plan, Shape
from lab.chaos.schedule import Injection, brief_schedule, schedule
from lab.chaos.workload import Habits

_BRIEF_SECONDS = 18.0


def full(output, seed, seconds, faults=tuple(FAULTS)):
    """Return a run with all faults, or the given ones, for some seconds."""
    return Plan(output, seed, partial(schedule, seconds=seconds, faults=faults), seconds)


def brief(output, seed):
    """Return a short run with fixed faults. The seed chooses their targets."""
    return Plan(output, seed, brief_schedule, _BRIEF_SECONDS, Shape(wal_disk=False))


def planted(output, seed, name):
    """Return a run with a planted bug. Its end is left out, because the bug is found earlier."""
    bug = BUGS[name]
    shape = Shape(
        inventories=2,
        gateways=1,
        wal_disk=False,
        bug=name,
        inventory_settings=bug.inventory_settings,
        database_settings=bug.database_settings,
    )
    injections = [Injection(*injection) for injection in bug.injections]
    return Plan(
        output,
        seed,
        lambda _seed, _topology: injections,
        bug.seconds,
        shape,
        Habits(**bug.habits),
        bug.operations,
        is_whole=False,
    )
