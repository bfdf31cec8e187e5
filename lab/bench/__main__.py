"""`python -m lab.bench`: measures, prints, writes JSON and a plot; fails if a promise was broken, never by speed."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from lab.bench.load import CLIENT_CORE, ROOT, missing_tools
from lab.bench.measure import Plan, measure
from lab.bench.report import tables, write
from lab.bench.stack import Stack

_OUTPUT = ROOT / "build" / "bench"
# After 300 s the server asks clients to reconnect, which h2load does not do.
_MOST_SECONDS = 120.0
_SMOKE = Plan(seconds=0.1, memory_reservations=200, least_requests_each=1)


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="as short as can be: only shows that it runs")
    parser.add_argument("--seconds", type=_seconds, default=Plan.seconds, help="how long each measurement takes")
    parser.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    parser.add_argument(
        "--setting", action="append", default=[], type=_setting, metavar="NAME=VALUE", help="for every service"
    )
    parser.add_argument("--output", type=Path, default=_OUTPUT)
    arguments = parser.parse_args()
    if missing := missing_tools():
        sys.exit(f"bench needs what is not there: {', '.join(missing)}")
    plan = _SMOKE if arguments.smoke else Plan(seconds=arguments.seconds)
    os.sched_setaffinity(0, {CLIENT_CORE})
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory), arguments.setting) as stack:
        results = measure(stack, plan)
    print(tables(results, is_markdown=arguments.markdown))
    write(results, arguments.output)
    print(f"\nwritten to {arguments.output}")
    sys.exit("\n".join(results.broken_promises) or 0)


def _seconds(text):
    seconds = float(text)
    if not 0 < seconds <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is not over 0 and up to {_MOST_SECONDS:g}")
    return seconds


def _setting(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    main()
