"""The result as a table, as JSON and as a timeline."""

import math
from collections import Counter
from dataclasses import asdict

from matplotlib.patches import Rectangle

from lab.drill.replica import Phase
from lab.drill.request_ledger import Outcome
from lab.kit.report import columns, figure, write_json

_BIN_SECONDS = 0.5
_HEADINGS = (
    *("scenario", "s", "requests", "failed", "refused", "retried"),
    *("p50 ms", "p99 ms", "ended", "resumed", "verdict"),
)
_PHASE_COLOURS = {
    Phase.STARTING: "#d9d9d9",
    Phase.SERVING: "#74c476",
    Phase.DRAINING: "#fdae6b",
    Phase.STOPPING: "#fb6a4a",
}


def table(result):
    """Return the result as text."""
    rows = [_HEADINGS, *(_cells(row) for row in result.rows)]
    heading, *told = columns(rows)
    lines = [heading]
    for line, row in zip(told, result.rows, strict=True):
        lines += [line, *(f"    {fault}" for fault in row.faults)]
    lines.append("")
    lines += [
        f"{watcher.name}: came to {watcher.sequence}, resumed {watcher.resumed} times {dict(watcher.ends)}"
        for watcher in result.watchers
    ]
    lines.append(f"\n{'PASSED' if result.passed else 'FAILED'}: {len(result.book.entries)} requests")
    return "\n".join(lines)


def _cells(row):
    counts = (row.requests, row.failed, row.refused, row.retried)
    times = (f"{row.p50_ms:.0f}", f"{row.p99_ms:.0f}")
    ends = (row.processes_ended, row.watches_resumed, "passed" if row.passed else "FAILED")
    return row.name, f"{row.ended_at - row.began_at:.0f}", *counts, *times, *ends


def write(result, directory):
    """Write drill.json and timeline.png; requests.jsonl and the processes' logs exist already."""
    document = {
        "passed": result.passed,
        "scenarios": [asdict(row) | {"passed": row.passed} for row in result.rows],
        "replicas": [_document(replica, result.book.began_at) for replica in result.replicas],
    }
    write_json(directory / "drill.json", document)
    _plot(result, directory / "timeline.png")


def _document(replica, began_at):
    return {
        "name": replica.name,
        "version": replica.version,
        "exit_code": replica.exit_code,
        "seconds_to_end": None if replica.terminated_at is None else replica.ended_at - replica.terminated_at,
        "phases": [[at - began_at, phase] for at, phase in replica.phases],
        "scrapes": len(replica.scrapes),
    }


def _plot(result, path):
    replicas = sorted(result.replicas, key=lambda replica: (replica.kind.name, replica.phases[0][0]))
    height = 3 + 0.16 * len(replicas)
    with figure(path, 2, sharex=True, figsize=(16, height + 1), height_ratios=[3, height - 3]) as (rates, phases):
        _plot_rates(rates, result)
        _plot_phases(phases, replicas, result)


def _plot_rates(axes, result):
    end = math.ceil(result.rows[-1].ended_at / _BIN_SECONDS)
    times = [n * _BIN_SECONDS for n in range(end)]
    for outcome, colour in ((Outcome.ANSWERED, "#3182bd"), (Outcome.REFUSED, "#fd8d3c"), (Outcome.FAILED, "#de2d26")):
        counts = Counter(
            int(entry.ended_at / _BIN_SECONDS) for entry in result.book.entries if entry.outcome is outcome
        )
        axes.step(times, [counts[n] / _BIN_SECONDS for n in range(end)], colour, where="post", label=f"{outcome}/s")
    axes.set_ylabel("requests/s")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right")
    for row in result.rows:
        axes.text(row.began_at, axes.get_ylim()[1], f" {row.name}", rotation=35, fontsize=8)


def _plot_phases(axes, replicas, result):
    for at, replica in enumerate(replicas):
        ends = [*(time for time, _ in replica.phases[1:]), result.book.began_at + result.rows[-1].ended_at]
        for (began_at, phase), ended_at in zip(replica.phases, ends, strict=True):
            if colour := _PHASE_COLOURS.get(phase):
                axes.barh(at, ended_at - began_at, left=began_at - result.book.began_at, color=colour)
    axes.set_yticks(range(len(replicas)), [f"{replica.name} {replica.version}" for replica in replicas], fontsize=6)
    axes.margins(x=0, y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend(
        [Rectangle((0, 0), 1, 1, color=colour) for colour in _PHASE_COLOURS.values()],
        list(_PHASE_COLOURS),
        loc="lower left",
        fontsize=7,
    )
    for axis in (axes, axes.figure.axes[0]):
        for row in result.rows:
            axis.axvline(row.began_at, color="grey", linewidth=0.5)
