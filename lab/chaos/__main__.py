"""`python -m lab.chaos`: injects faults into processes, links and servers under load, and judges the history."""

import argparse
import asyncio
import random
import signal
import sys
from pathlib import Path

from lab.chaos import plans
from lab.chaos.bugs import BUGS
from lab.chaos.faults import FAULTS
from lab.chaos.history import read_history
from lab.chaos.report import table
from lab.chaos.run import chaos
from lab.chaos.timeline import plot

_OUTPUT = Path(__file__).parents[2] / "build" / "chaos"
_SECONDS = 150.0


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="for the same schedule and decisions again")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="how long the load is harmed")
    parser.add_argument("--brief", action="store_true", help="half a minute, with a fixed choice of faults")
    parser.add_argument("--faults", metavar="A,B", help=f"only these of {', '.join(FAULTS)}")
    parser.add_argument("--bug", choices=BUGS, help="plant a bug, to see that it is found")
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    arguments = parser.parse_args()
    chosen = tuple(arguments.faults.split(",")) if arguments.faults else tuple(FAULTS)
    if unknown := set(chosen) - set(FAULTS):
        parser.error(f"there is no fault {', '.join(sorted(unknown))}")
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    result = asyncio.run(_until_terminated(chaos(_plan(arguments, seed, chosen))))
    print(table(result))
    plot(read_history(arguments.output / "history.jsonl"), arguments.output / "timeline.png")
    print(f"seed {seed}; written to {arguments.output}")
    sys.exit(0 if result.passed else 1)


async def _until_terminated(run):
    """Let SIGTERM end a run as an interrupt does, so that no process is left behind."""
    task = asyncio.ensure_future(run)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _plan(arguments, seed, faults):
    if arguments.bug:
        return plans.planted(arguments.output, seed, arguments.bug)
    if arguments.brief:
        return plans.brief(arguments.output, seed)
    return plans.full(arguments.output, seed, arguments.seconds, faults)


if __name__ == "__main__":
    main()
