"""The results as a table of ratios, as JSON and as a plot."""

import json

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from lab.bench.measure import SUBMIT_COMMANDS

SUBMIT = f"submit of {SUBMIT_COMMANDS}"


def ratios(results):
    """Each target: what it compares, what is wanted, what was reached."""
    core, loads = results.core, results.loads
    found = [("core, batches of 64 / a transaction each", 20.0, core["core"] / core["naive"])]
    for callers, wanted in ((64, 0.75), (256, 0.85)):
        found.append(
            (f"reserve / empty handler, {callers} callers", wanted, _ratio(loads, "reserve", "empty handler", callers))
        )
        found.append((f"reserve / naive, {callers} callers", 4.0, _ratio(loads, "reserve", "naive", callers)))
        found.append(
            (f"sold out / empty handler, {callers} callers", 0.95, _ratio(loads, "sold out", "empty handler", callers))
        )
    submits = max(load.requests_per_second for load in loads[SUBMIT].values()) * SUBMIT_COMMANDS
    empty = max(load.requests_per_second for load in loads["empty handler"].values())
    found.append(("submit of 100, in reservations / empty handler", 6.0, submits / empty))
    for connections, wanted in ((64, 10.0), (256, 15.0)):
        ratio = _ratio(loads, "REST: reserve", "REST: naive stack", connections)
        found.append((f"REST reserve / naive REST stack, {connections} connections", wanted, ratio))
        hop = _ratio(loads, "REST: reserve", "REST: empty handler", connections)
        found.append((f"REST reserve / empty handler of its server, {connections} connections", None, hop))
    one, first, second = (
        next(iter(loads[name].values())).requests_per_second
        for name in ("one process", "two processes, first", "two processes, second")
    )
    found.append(("two inventory processes / one, on one sale", 1.0, (first + second) / one))
    return [entry for entry in found if entry[2] is not None]


def table(results):
    lines = [
        f"{'scenario':28} {'callers':>7} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8} {'failed':>6} {'database':>8}"
    ]
    for scenario, loads in results.loads.items():
        for callers, load in loads.items():
            share = f"{results.database_share[callers]:.0%}" if scenario == "reserve" else ""
            lines.append(
                f"{scenario:28} {callers:7} {load.requests_per_second:11.0f} {load.p50_ms:8.2f} {load.p99_ms:8.2f}"
                f" {load.failed:8} {share:>8}"
            )
    lines.append("")
    lines += [f"{name:28} {rate:19.0f}" for name, rate in results.core.items()]
    lines.append("")
    lines += [f"resident MB, {stage} time: {sizes}" for stage, sizes in results.memory.items()]
    lines.append("")
    for name, wanted, reached in ratios(results):
        verdict = "" if wanted is None else f"wanted {wanted:5.2f}  {'reached' if reached >= wanted else 'MISSED'}"
        lines.append(f"{name:62} {reached:7.2f}  {verdict}")
    return "\n".join(lines)


def write(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "loads": {
            scenario: {callers: load.as_dict() for callers, load in loads.items()}
            for scenario, loads in results.loads.items()
        },
        "core": results.core,
        "database_share": results.database_share,
        "memory_megabytes": results.memory,
        "ratios": [
            {"name": name, "wanted": wanted, "reached": round(reached, 3)} for name, wanted, reached in ratios(results)
        ],
    }
    (directory / "bench.json").write_text(json.dumps(document, indent=2) + "\n")
    _plot(results, directory / "bench.png")


def _plot(results, path):
    figure, (throughput, latency) = plt.subplots(1, 2, figsize=(14, 6))
    for scenario, loads in results.loads.items():
        if len(loads) > 1 and scenario != SUBMIT:
            callers = sorted(loads)
            throughput.plot(callers, [loads[n].requests_per_second for n in callers], marker="o", label=scenario)
            latency.plot(callers, [loads[n].p99_ms for n in callers], marker="o", label=scenario)
    for axes, title in ((throughput, "requests a second"), (latency, "99th percentile, ms")):
        axes.set(xscale="log", yscale="log", xlabel="callers", title=title)
        axes.grid(visible=True, which="both", alpha=0.3)
    throughput.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _ratio(loads, scenario, yardstick, callers):
    if callers not in loads[scenario]:
        return None
    return loads[scenario][callers].requests_per_second / loads[yardstick][callers].requests_per_second
