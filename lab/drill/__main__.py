"""`python -m lab.drill [SCENARIO ...]`: restarts real processes under load; fails if a client noticed."""

import argparse
import asyncio
import sys
from pathlib import Path

from lab.drill.launcher import FAULTS
from lab.drill.report import table, write
from lab.drill.run import Plan, drill
from lab.drill.scenarios import ALL

_OUTPUT = Path(__file__).parents[2] / "build" / "drill"


def main():
    parser = argparse.ArgumentParser(prog="drill", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(ALL)}; without any: all, in turn")
    parser.add_argument("--brief", action="store_true", help="restart one of each, rather than all")
    parser.add_argument("--fault", choices=FAULTS, help="plant a fault in every process, to see that the drill fails")
    parser.add_argument("--pace", type=float, default=1.0, help="how much load, of some 120 requests a second")
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(ALL):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    plan = Plan(
        arguments.output,
        tuple(arguments.scenarios or ALL),
        brief=arguments.brief,
        fault=arguments.fault,
        pace=arguments.pace,
    )
    result = asyncio.run(drill(plan))
    print(table(result))
    write(result, plan.output)
    print(f"written to {plan.output}")
    sys.exit(0 if result.passed else 1)


if __name__ == "__main__":
    main()
