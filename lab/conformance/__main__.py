"""`python -m lab.conformance`: suites of others against each transport; fails unless exactly what is known fails."""

import argparse
import asyncio
import sys
from itertools import product

from lab.conformance.known import faults, known_failures
from lab.conformance.suites import ALL
from lab.kit.report import columns

_TRANSPORTS = ("envoy", "grpc_aio")
_HEADINGS = ("suite", "transport", "cases", "passed", "known failures", "faults")


def main():
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(ALL)}; without any: all")
    parser.add_argument("--transport", choices=_TRANSPORTS, help="one transport only")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - set(ALL):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    transports = [arguments.transport] if arguments.transport else _TRANSPORTS
    rows, found = asyncio.run(_run(arguments.suites or ALL, transports))
    print("\n".join([*columns([_HEADINGS, *rows]), *found]))
    sys.exit(1 if found else 0)


async def _run(suites, transports):
    rows, found = [], []
    for suite, transport in product(suites, transports):
        known = known_failures(suite, transport)
        told = await ALL[suite](transport, [case for each in known for case in each.cases])
        new = faults(known, told.failures)
        failed = len(told.failures)
        rows.append((suite, transport, told.cases, told.cases - failed, failed, len(new)))
        found += [f"{suite}, {transport}: {fault}" for fault in new]
    return rows, found


if __name__ == "__main__":
    main()
