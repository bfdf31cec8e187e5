"""What is known to fail, and why: `known_failures.toml`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

_FILE = Path(__file__).with_name("known_failures.toml")


@dataclass(frozen=True)
class Known:
    """Cases of a suite that fail with a transport; `sometimes`: they may pass."""

    reason: str
    cases: tuple[str, ...]
    sometimes: bool


def known_failures(suite: str, transport: str) -> list[Known]:
    """Read what is known of a suite with a transport."""
    entries = tomllib.loads(_FILE.read_text(encoding="utf-8"))["failures"]
    return [
        Known(entry["reason"], tuple(entry["cases"]), entry.get("sometimes", False))
        for entry in entries
        if entry["suite"] == suite and transport in entry["transports"]
    ]


def faults(known: list[Known], failures: dict[str, str]) -> list[str]:
    """Return what differs from what is known: a case that fails, and one that no longer does."""
    expected = {case for each in known for case in each.cases}
    must_fail = {case for each in known if not each.sometimes for case in each.cases}
    new = [f"{case} fails:\n{failures[case].strip()}" for case in failures if case not in expected]
    mended = [f"{case} passes: remove it from {_FILE.name}" for case in sorted(must_fail - failures.keys())]
    return new + mended
