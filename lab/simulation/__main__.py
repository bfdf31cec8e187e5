"""`python -m lab.simulation [--seeds N | --seed S | --seventy-two-hours]`: fails when a seed breaks a promise."""

import argparse
import multiprocessing
import os
import secrets
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice

from lab.simulation.run import run
from lab.simulation.seventy_two_hours import every_boot_minute, run_course

_SEEDS = 3_000
_PROCESSES = os.cpu_count() or 1


def main():
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=_SEEDS, help=f"how many fresh seeds ({_SEEDS})")
    parser.add_argument("--base", type=int, help="the first of them; drawn, and printed, when it is not given")
    parser.add_argument("--seconds", type=float, help="begin no further seed after so long")
    parser.add_argument("--seed", type=int, help="this one alone, with all that happens in it")
    parser.add_argument("--seventy-two-hours", action="store_true", help="hourly sales, from every boot minute")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        sys.exit(_again(arguments.seed))
    if arguments.seventy_two_hours:
        sys.exit(_seventy_two_hours(secrets.randbits(32) if arguments.base is None else arguments.base))
    base = secrets.randbits(48) if arguments.base is None else arguments.base
    sys.exit(_explore(base, arguments.seeds, arguments.seconds or float("inf")))


def _again(seed):
    result = run(seed, keep_all=True)
    print("\n".join(result.lines))
    print(f"seed {seed}: trace {result.digest}, {result.calls} calls, {result.commits} commits")
    print("\n".join(result.faults) or "passed")
    return 0 if result.passed else 1


def _explore(base, seeds, seconds):
    print(f"seeds from {base}")
    began = time.perf_counter()
    done, failed, calls, answers, seen = 0, 0, 0, Counter(), Counter()
    for result in _side_by_side(run, range(base, base + seeds), began + seconds):
        done, calls = done + 1, calls + result.calls
        answers += result.answers
        seen.update(result.seen)
        if not result.passed:
            failed += 1
            print(result.told(), flush=True)
    took = time.perf_counter() - began
    print(f"{done} seeds, {failed} failed, {calls} calls, in {took:.1f} s: {60 * done / took:.0f} in a minute")
    print("answers:", ", ".join(f"{name} {times}" for name, times in answers.most_common()))
    print("seeds with:", ", ".join(f"{name} {times}" for name, times in seen.most_common()))
    return 1 if failed else 0


def _seventy_two_hours(base):
    print(f"seeds from {base}")
    began = time.perf_counter()
    failed = 0
    for verdict in _side_by_side(run_course, every_boot_minute(base), float("inf")):
        print(verdict.told(), flush=True)
        failed += not verdict.passed
    print(f"60 boot minutes, {failed} failed, in {time.perf_counter() - began:.1f} s")
    return 1 if failed else 0


def _side_by_side(simulate, plans, ends_at):
    """Yield the result of each plan as soon as it is known. Plans run in one process for each core."""
    plans = iter(plans)
    with ProcessPoolExecutor(_PROCESSES, multiprocessing.get_context("spawn")) as processes:
        # One more plan for each process than it works on, so that no process is idle.
        running = {processes.submit(simulate, plan) for plan in islice(plans, 2 * _PROCESSES)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for result in finished:
                yield result.result()
                if time.perf_counter() < ends_at and (plan := next(plans, None)) is not None:
                    running.add(processes.submit(simulate, plan))


if __name__ == "__main__":
    main()
