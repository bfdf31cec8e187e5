"""The live table, and the report: JSON and plots."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from lab.kit.report import figure, write_json
from lab.load_test.run import Moment, Plan, Result
from lab.load_test.tally import Tally

_KINDS = ("look", "create", "confirm", "release")
_BUCKET_SECONDS = 1.0


def live_table(plan: Plan, moment: Moment, total: Tally) -> Table:
    """Return what is happening now."""
    title = f"{plan.mix}: {moment.tally.users} of {plan.users} shoppers, {moment.second:.0f} s"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "sent", "OK", "refused", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="left" if not heading else "right")
    for kind in _KINDS:
        table.add_row(*_row(total, kind))
    table.add_row("5xx", str(total.server_errors))
    table.add_row("no answer", str(total.lost))
    return table


def _row(total: Tally, kind: str) -> tuple[str, ...]:
    sent = sum(count for (each, _), count in total.outcomes.items() if each == kind)
    granted = total.outcomes[kind, "OK"]
    told = total.latencies.get(kind)
    latencies = (f"{1000 * told.percentile(share):.0f}" for share in (0.5, 0.99)) if told else ("", "")
    return kind, str(sent), str(granted), str(sent - granted), *latencies


def reasons(total: Tally) -> Counter[str]:
    """Return how often a request was not granted, by reason."""
    counts: Counter[str] = Counter()
    for (_, outcome), count in total.outcomes.items():
        if outcome != "OK":
            counts[outcome] += count
    return counts


def write(result: Result, directory: Path) -> None:
    """Write load-test.json and load-test.png."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "load-test.json", _document(result))
    _plot(result, directory / "load-test.png")


def _document(result: Result) -> dict[str, Any]:
    total = result.total
    plan = asdict(result.plan)
    del plan["credential"]
    return {
        "plan": plan,
        "requests": total.requests,
        "outcomes": {f"{kind} {outcome}": count for (kind, outcome), count in sorted(total.outcomes.items())},
        "p99_ms": {kind: 1000 * each.percentile(0.99) for kind, each in total.latencies.items()},
        "statuses": {str(status): count for status, count in sorted(total.statuses.items())},
        "sold": result.shelf.sold,
        "held": result.shelf.held,
        "consistent": result.shelf.consistent,
        "faults": result.faults,
    }


def _plot(result: Result, path: Path) -> None:
    seconds = _by_second(result)
    with figure(path, 2, 2, figsize=(13, 9)) as axes:
        (rate, latency), (users, refused) = axes
        times = list(seconds)
        for kind in _KINDS:
            rate.plot(times, [tally.outcomes[kind, "OK"] / _BUCKET_SECONDS for tally in seconds.values()], label=kind)
            told = [tally.latencies.get(kind) for tally in seconds.values()]
            latency.plot(times, [1000 * each.percentile(0.99) if each else None for each in told], label=kind)
        users.plot(times, [tally.users for tally in seconds.values()], label="shoppers")
        for reason, _ in reasons(result.total).most_common(5):
            refused.plot(times, [reasons(tally)[reason] for tally in seconds.values()], label=reason)
        latency.axhline(1000 * result.plan.thresholds.p99_seconds, color="grey", linestyle=":", label="threshold")
        rate.set(title="granted per second", ylim=0)
        latency.set(title="99th percentile, ms", ylim=0)
        users.set(title="shoppers", ylim=0, xlabel="seconds")
        refused.set(title="not granted per second, by reason", ylim=0, xlabel="seconds")
        for each in axes.flat:
            each.grid(visible=True, alpha=0.3)
            if each.get_legend_handles_labels()[0]:
                each.legend(fontsize="small")


def _by_second(result: Result) -> dict[float, Tally]:
    seconds: dict[float, Tally] = {}
    for moment in result.moments:
        tally = seconds.setdefault(moment.second // _BUCKET_SECONDS, Tally())
        tally.add(moment.tally)
        tally.users = moment.tally.users
    return seconds
