"""`python -m lab.load_test URL`: a crowd of virtual shoppers; fails if a promise or a threshold is broken."""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.live import Live

from lab.load_test.report import live_table, reasons, write
from lab.load_test.run import Plan, RunError, run
from lab.load_test.shoppers import MIXES
from lab.load_test.verdict import Thresholds

_OUTPUT = Path(__file__).parents[2] / "build" / "load-test"


def main() -> int:
    arguments = _parser().parse_args()
    console = Console()
    plan = _plan(arguments)
    console.print(f"{plan.users} shoppers against {plan.url}, in a sale of its own", markup=False)
    try:
        with Live(console=console, refresh_per_second=2) as live:
            result = run(plan, lambda *now: live.update(live_table(*now)))
    except RunError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    write(result, arguments.output)
    for reason, count in reasons(result.total).most_common():
        console.print(f"{reason}: {count}", markup=False)
    console.print(f"{result.shelf.sold} sold, {result.shelf.held} held of {plan.units}; report in {arguments.output}")
    for fault in result.faults:
        console.print(fault, style="red", markup=False)
    console.print("FAILED" if result.faults else "passed", style="red" if result.faults else "green")
    return 1 if result.faults else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="load-test", description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080", help="of the gateway or the edge")
    parser.add_argument("--mix", choices=MIXES, default=Plan.mix, help="who comes")
    parser.add_argument("--users", type=int, default=Plan.users, help="how many shoppers")
    parser.add_argument("--ramp", type=float, default=Plan.ramp_seconds, help="seconds in which they come")
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="how long all of them stay")
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1), help="that run them")
    parser.add_argument("--units", type=int, default=Plan.units, help="in the sale")
    parser.add_argument("--items", type=int, default=Plan.items, help="in the sale")
    parser.add_argument("--per-customer", type=int, default=Plan.per_customer_limit, help="limit of units")
    parser.add_argument("--key-file", type=Path, help="with the key of an operator, who may also reserve for customers")
    parser.add_argument("--p99-ms", type=float, default=1000 * Thresholds.p99_seconds, help="of creates and confirms")
    parser.add_argument("--errors", type=float, default=Thresholds.server_errors, help="the most 5xx, as a share")
    parser.add_argument("--lost", type=float, default=Thresholds.lost_answers, help="the most without answer, a share")
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="directory of the report")
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(
        url=arguments.url.rstrip("/"),
        mix=arguments.mix,
        users=arguments.users,
        ramp_seconds=arguments.ramp,
        seconds=arguments.seconds,
        processes=arguments.processes,
        items=arguments.items,
        units=arguments.units,
        per_customer_limit=arguments.per_customer,
        credential=arguments.key_file.read_text().strip() if arguments.key_file else "",
        thresholds=Thresholds(arguments.p99_ms / 1000, arguments.errors, arguments.lost),
    )


if __name__ == "__main__":
    sys.exit(main())
