"""The results as tables, for a terminal or in Markdown, as JSON and as a plot."""

import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.bench.load import CORES
from lab.bench.measure import Results, Scenario
from lab.bench.targets import Reached, delay_ms, drift, reached
from lab.kit.report import columns, figure, markdown, write_json

Rows = list[tuple[str, ...]]
SCENARIO_COLUMNS = ("scenario", "callers", "requests/s", "p50 ms", "p99 ms", "refused")
BATCH_COLUMNS = ("commands a batch", "round trips", "ms a batch")
PROCESSES = {
    "inventory": "#3b6ea5",
    "gateway": "#e0a458",
    "PostgreSQL": "#6a9a6f",
    "yardstick-grpc": "#8d8d92",
    "yardstick-rest": "#c2c2c6",
}
_NOT_REACHED, _REACHED = "#b5483a", "#3b6ea5"


def tables(results: Results, *, is_markdown: bool) -> str:
    """Return a table of the targets, and one of the scenarios."""
    draw = markdown if is_markdown else columns
    return "\n".join(
        [
            *draw(_reached_rows(reached(results))),
            "",
            *draw(_scenario_rows(results.scenarios)),
            "",
            f"CPU: microseconds of user and system time for each command. Machine: {_machine()}.",
            f"The delay on the link to the database, by a bare insert: {delay_ms(results):.2f} ms.",
            f"The empty handler at the end of the run, over that at its beginning: {drift(results):.2f}.",
        ]
    )


def write(results: Results, directory: Path) -> None:
    """Write `bench.json` and `bench.png`."""
    ratios = {slug: {"value": round(each.value, 3), "target": each.target} for slug, each in reached(results).items()}
    document = {"machine": _machine(), "drift": round(drift(results), 3), "ratios": ratios, **asdict(results)}
    write_json(directory / "bench.json", document)
    _plot(results, directory / "bench.png")


def _reached_rows(targets: dict[str, Reached]) -> Rows:
    rows: Rows = [("slug", "what", "reached", "target", "")]
    for slug, each in targets.items():
        verdict = "met" if each.is_met else "missed"
        rows.append((slug, each.what, f"{each.value:.2f}", f"{each.sign} {each.target:g}", verdict))
    return rows


def _scenario_rows(scenarios: dict[str, Scenario]) -> Rows:
    columns = (*SCENARIO_COLUMNS, *(f"CPU {kind}" for kind in (*PROCESSES, "load")), *BATCH_COLUMNS)
    return [columns, *(_scenario_row(name, scenario) for name, scenario in scenarios.items())]


def _scenario_row(name: str, scenario: Scenario) -> tuple[str, ...]:
    cpu = (f"{scenario.cpu_us[kind]:.0f}" if kind in scenario.cpu_us else "" for kind in (*PROCESSES, "load"))
    rates = (f"{scenario.requests_per_second:.0f}", f"{scenario.p50_ms:.2f}", f"{scenario.p99_ms:.2f}")
    return (name, str(scenario.callers), *rates, str(scenario.refused), *cpu, *_batch_cells(scenario))


def _batch_cells(scenario: Scenario) -> tuple[str, ...]:
    batches = scenario.batches
    if batches is None:
        return ("",) * len(BATCH_COLUMNS)
    return (f"{batches.commands_each:.1f}", f"{batches.trips_each:.2f}", f"{batches.milliseconds_each:.2f}")


def _machine() -> str:
    load = os.getloadavg()[0]
    return (
        f"{len(CORES)} cores ({platform.machine()}), Linux {platform.release()}, Python {sys.version.split()[0]}, "
        f"load average {load:.1f} at the end"
    )


def _plot(results: Results, path: Path) -> None:
    with figure(path, 1, 2, figsize=(17, 7.5)) as (cpu, targets):
        _plot_cpu(cpu, results.scenarios)
        _plot_targets(targets, reached(results))


def _plot_cpu(axes: Any, scenarios: dict[str, Scenario]) -> None:
    names = list(scenarios)
    ends = [0.0] * len(names)
    for kind, colour in PROCESSES.items():
        widths = [scenario.cpu_us.get(kind, 0.0) for scenario in scenarios.values()]
        axes.barh(names, widths, left=ends, color=colour, label=kind)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    empty = scenarios["empty_256"].cpu_us["yardstick-grpc"]
    axes.axvline(empty, color="black", linestyle="--", linewidth=1, label="an empty grpc.aio handler, 256 callers")
    axes.set(title="CPU for each command, by process", xlabel="microseconds, user and system")
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(fontsize="small")


def _plot_targets(axes: Any, targets: dict[str, Reached]) -> None:
    shares = [each.share for each in targets.values()]
    axes.barh(list(targets), shares, color=[_REACHED if each.is_met else _NOT_REACHED for each in targets.values()])
    for share, (place, each) in zip(shares, enumerate(targets.values()), strict=True):
        label = f" {each.value:.2f} ({each.sign} {each.target:g})"
        axes.text(max(1.0, share), place, label, va="center", fontsize="small")
    axes.axvline(1, color="black", linestyle="--", linewidth=1, label="the target")
    axes.set(title="how much of its target was reached")
    axes.set_xlim(right=max(1.0, *shares) * 1.25)
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
