"""The result as a table, as JSON and as a timeline."""

import json
import math
from collections import Counter
from dataclasses import asdict

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from lab.drill.replica import Phase
from lab.drill.request_ledger import Outcome

_BIN_SECONDS = 0.5
_PHASE_COLOURS = {
    Phase.STARTING: "#d9d9d9",
    Phase.SERVING: "#74c476",
    Phase.DRAINING: "#fdae6b",
    Phase.STOPPING: "#fb6a4a",
}


def table(result):
    """For people."""
    columns = ("s", 5), ("requests", 8), ("failed", 6), ("refused", 7), ("retried", 7), ("p50 ms", 7), ("p99 ms", 7)
    headings = " ".join(f"{name:>{width}}" for name, width in (*columns, ("ended", 5), ("resumed", 7)))
    lines = [f"{'scenario':18} {headings}  verdict"]
    for row in result.rows:
        lines.append(
            f"{row.name:18} {row.ended_at - row.began_at:5.0f} {row.requests:8} {row.failed:6} {row.refused:7}"
            f" {row.retried:7} {row.p50_ms:7.0f} {row.p99_ms:7.0f} {row.processes_ended:5} {row.watches_resumed:7}"
            f"  {'passed' if row.passed else 'FAILED'}"
        )
        lines += [f"    {fault}" for fault in row.faults]
    lines.append("")
    lines += [
        f"{watcher.name}: came to {watcher.sequence}, resumed {watcher.resumed} times {dict(watcher.ends)}"
        for watcher in result.watchers
    ]
    lines.append(f"\n{'PASSED' if result.passed else 'FAILED'}: {len(result.book.entries)} requests")
    return "\n".join(lines)


def write(result, directory):
    """drill.json and timeline.png; requests.jsonl and the processes' logs are there already."""
    document = {
        "passed": result.passed,
        "scenarios": [asdict(row) | {"passed": row.passed} for row in result.rows],
        "replicas": [_document(replica, result.book.began_at) for replica in result.replicas],
    }
    (directory / "drill.json").write_text(json.dumps(document, indent=2) + "\n")
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
    figure, (rates, phases) = plt.subplots(
        2, sharex=True, figsize=(16, height + 1), height_ratios=[3, height - 3], layout="constrained"
    )
    _plot_rates(rates, result)
    _plot_phases(phases, replicas, result)
    figure.savefig(path, dpi=100)
    plt.close(figure)


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
        [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in _PHASE_COLOURS.values()],
        list(_PHASE_COLOURS),
        loc="lower left",
        fontsize=7,
    )
    for axis in (axes, axes.figure.axes[0]):
        for row in result.rows:
            axis.axvline(row.began_at, color="grey", linewidth=0.5)
