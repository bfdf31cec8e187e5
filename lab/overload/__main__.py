"""`python -m lab.overload`: offers up to ten times the capacity; fails if a promise is broken."""

import argparse
import os
import sys
from pathlib import Path

import uvloop

from lab.bench.load import CLIENT_CORE
from lab.overload.report import table, write
from lab.overload.run import Plan, overload
from lab.overload.verdict import faults

_OUTPUT = Path(__file__).parents[2] / "build" / "overload"


def main():
    parser = argparse.ArgumentParser(prog="overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="how long each load lasts")
    parser.add_argument("--transports", nargs="+", choices=Plan.transports, default=Plan.transports)
    parser.add_argument("--core-share", type=float, default=Plan.core_share, help="of their core, for the services")
    parser.add_argument("--request-limit", type=int, default=Plan.request_limit, help="HOLDFAST_EDGE_REQUEST_LIMIT")
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    arguments = parser.parse_args()
    plan = Plan(
        seconds=arguments.seconds,
        transports=tuple(arguments.transports),
        core_share=arguments.core_share,
        request_limit=arguments.request_limit,
    )
    os.sched_setaffinity(0, {CLIENT_CORE})
    result = uvloop.run(overload(plan))
    print(table(result))
    write(result, arguments.output)
    print(f"\nwritten to {arguments.output}")
    sys.exit(1 if faults(result) else 0)


if __name__ == "__main__":
    main()
