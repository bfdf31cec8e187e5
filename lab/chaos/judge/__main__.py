"""Judges a recorded run again: python -m lab.chaos.judge HISTORY LEDGERS."""

import sys
from pathlib import Path

from lab.chaos.history import read_history, read_ledgers
from lab.chaos.judge import judge
from lab.chaos.judge.verdict import Verdict

_USAGE = "usage: python -m lab.chaos.judge HISTORY LEDGERS"


def main(arguments: list[str]) -> int:
    """Return the exit code: 0 if the run is clean, 1 if there are violations, 3 if it is void."""
    if len(arguments) != 2:
        print(_USAGE, file=sys.stderr)
        return 2
    history, ledgers = map(Path, arguments)
    verdict = judge(read_history(history), read_ledgers(ledgers))
    print(told(verdict))
    return 1 if verdict.violations else 3 if verdict.void_because else 0


def told(verdict: Verdict) -> str:
    """Return the verdict as text."""
    lines = [str(violation) for violation in verdict.violations]
    lines += [f"void: {reason}" for reason in verdict.void_because]
    lines += [f"{count:>9} {name.replace('_', ' ')}" for name, count in verdict.witnessed.items()]
    lines.append(f"{len(verdict.violations)} violations")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
