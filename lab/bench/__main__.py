"""`python -m lab.bench [--smoke] [--seconds S] [--output DIRECTORY]`: measures, prints, writes JSON and a plot."""

import argparse
import tempfile
from pathlib import Path

from lab.bench.load import ROOT
from lab.bench.measure import Plan, measure
from lab.bench.report import table, write
from lab.bench.stack import Stack


def main():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="as short as can be: only shows that it runs")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement takes")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench")
    arguments = parser.parse_args()
    plan = Plan(seconds=arguments.seconds)
    if arguments.smoke:
        plan = Plan(seconds=1, callers=(64,), memory_reservations=100)
    with tempfile.TemporaryDirectory() as directory, Stack(Path(directory)) as stack:
        results = measure(stack, plan, ROOT / ".tools/bin/ghz")
    print(table(results))
    write(results, arguments.output)
    print(f"\nwritten to {arguments.output}")


if __name__ == "__main__":
    main()
