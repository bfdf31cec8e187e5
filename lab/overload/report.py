"""The result as a table, as JSON and as a plot."""

import json
from collections import Counter
from dataclasses import asdict

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from lab.overload.load import percentile
from lab.overload.shopping import KINDS
from lab.overload.verdict import aims, faults

_BUCKET_SECONDS = 0.25


def table(result):
    titles = f"{'':6} {'load':>6} {'offered/s':>10} {'goodput/s':>10} {'of peak':>8} {'p50 ms':>8} {'p99 ms':>8}"
    more = f"{'refused p99':>11} {'late p99':>9} {'lost':>5}  accepted of each kind, refused by reason, delays"
    lines = [f"{titles} {more}"]
    for step in result.steps:
        tally, capacity = step.tally, result.capacity[step.transport]
        lines.append(
            f"{step.transport:6} {step.name:>6} {tally.offered / tally.seconds:10.0f} {tally.goodput:10.0f}"
            f" {tally.goodput / capacity:8.0%} {_ms(tally.accepted, 0.5)} {_ms(tally.accepted, 0.99)}"
            f" {_ms(tally.refused, 0.99):>11} {_ms(tally.sent_late, 0.99):>9} {tally.indefinite:5}"
            f"  {_shares(tally)}; {_reasons(tally)}; {_delays(tally)}"
        )
    lines.append("")
    for transport, told in result.others.items():
        for name, tally in told.items():
            lines.append(
                f"{transport:6} others {name:26} offered/s {tally.offered / tally.seconds:7.0f}"
                f"  goodput/s {tally.goodput:7.0f}  p99 ms {_ms(tally.accepted, 0.99)}  {_shares(tally)}"
            )
    lines.append("")
    for name, before in result.before.items():
        after = result.after[name]
        lines.append(
            f"{name:10} resident {before.resident_bytes / 1e6:6.0f} -> {after.resident_bytes / 1e6:6.0f} MB"
            f"   connections {before.connections:5} -> {after.connections:5}"
            f"   threads {before.threads} -> {after.threads}"
        )
    lines.append(
        "" if result.confined else "\nThe services had their whole core: this machine lets nobody confine them."
    )
    for aim in aims(result):
        sign = ">=" if aim.at_least else "<="
        lines.append(
            f"{aim.name:74} {aim.reached:9.2f}  wanted {sign} {aim.wanted:g}  {'reached' if aim.is_met else 'MISSED'}"
        )
    lines += [f"FAULT: {fault}" for fault in faults(result)]
    return "\n".join(lines)


def write(result, directory):
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "plan": asdict(result.plan),
        "confined": result.confined,
        "capacity": result.capacity,
        "recovery_seconds": result.recovery_seconds,
        "steps": [_step(step) for step in result.steps],
        "others": {
            transport: {name: _tally(tally) for name, tally in told.items()}
            for transport, told in result.others.items()
        },
        "sizes": {
            name: {"before": asdict(before), "after": asdict(result.after[name])}
            for name, before in result.before.items()
        },
        "aims": [{**asdict(aim), "met": aim.is_met} for aim in aims(result)],
        "faults": faults(result),
    }
    (directory / "overload.json").write_text(json.dumps(document, indent=2) + "\n")
    _plot(result, directory / "overload.png")


def _step(step):
    return {
        "transport": step.transport,
        "name": step.name,
        "multiple": step.multiple,
        "refusal_service_p99_ms": step.service_ms,
        "cpu": step.cpu,
        **_tally(step.tally),
    }


def _tally(tally):
    return {
        "offered_per_second": tally.offered / tally.seconds,
        "goodput_per_second": tally.goodput,
        "accepted_p50_ms": percentile(tally.accepted, 0.5) * 1000,
        "accepted_p99_ms": percentile(tally.accepted, 0.99) * 1000,
        "refused_p99_ms": percentile(tally.refused, 0.99) * 1000,
        "sent_late_p99_ms": percentile(tally.sent_late, 0.99) * 1000,
        "indefinite": tally.indefinite,
        "outcomes": {f"{kind} {reason}": count for (kind, reason), count in sorted(tally.outcomes.items())},
        "delays": {str(delay): count for delay, count in sorted(tally.delays.items())},
    }


def _ms(values, share):
    return f"{percentile(values, share) * 1000:8.1f}"


def _shares(tally):
    shares = {kind: tally.share_accepted(kind) for kind in KINDS}
    return " ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if share is not None)


def _reasons(tally):
    reasons = Counter()
    for (_, reason), count in tally.outcomes.items():
        reasons[reason] += count
    return " ".join(f"{reason} {count}" for reason, count in reasons.most_common() if reason != "OK") or "none refused"


def _delays(tally):
    return f"{len(tally.delays)} from {min(tally.delays):g} to {max(tally.delays):g} s" if tally.delays else "none"


def _plot(result, path):
    figure, axes = plt.subplots(2, 2, figsize=(14, 10))
    (goodput, latency), (kinds, after) = axes
    for transport, capacity in result.capacity.items():
        steps = [step for step in result.steps if step.transport == transport and step.multiple is not None]
        offered = [step.tally.offered / step.tally.seconds / capacity for step in steps]
        goodput.plot(offered, [step.tally.goodput / capacity for step in steps], marker="o", label=transport)
        [line] = latency.plot(offered, [step.p99_ms for step in steps], marker="o", label=f"{transport}, accepted")
        refused = [percentile(step.tally.refused, 0.99) * 1000 or None for step in steps]
        style = {"marker": "x", "linestyle": "--", "color": line.get_color()}
        latency.plot(offered, refused, label=f"{transport}, refused", **style)
    goodput.axhline(0.8, color="grey", linestyle=":")
    goodput.set(title="goodput, of the capacity", xlabel="offered, in multiples of the capacity", xscale="log", ylim=0)
    latency.set(title="99th percentile, ms", xlabel="offered, in multiples of the capacity", xscale="log", yscale="log")
    _plot_kinds(result, kinds)
    _plot_after(result, after)
    for each in (goodput, latency, kinds, after):
        each.grid(visible=True, which="both", alpha=0.3)
        each.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_kinds(result, axes):
    steps = [step for step in result.steps if step.multiple == max(result.plan.multiples)]
    for number, step in enumerate(steps):
        positions = [position + 0.4 * number for position in range(len(KINDS))]
        axes.bar(positions, [step.tally.share_accepted(kind) or 0.0 for kind in KINDS], 0.38, label=step.transport)
    axes.set(title=f"accepted of each kind at x{max(result.plan.multiples):g}", ylim=(0, 1.05))
    axes.set_xticks([position + 0.2 for position in range(len(KINDS))], KINDS)


def _plot_after(result, axes):
    """How many of those who came were accepted, in the peak and then."""
    for transport in result.capacity:
        shares = {}
        peak = result.step(transport, max(result.plan.multiples))
        calm = next(step for step in result.steps if (step.transport, step.name) == (transport, "after"))
        end = peak.tally.begun + peak.tally.seconds
        for step in (peak, calm):
            for due, accepted, _ in step.tally.history:
                shares.setdefault(int((step.tally.begun + due - end) // _BUCKET_SECONDS), []).append(accepted)
        moments = sorted(shares)
        axes.plot(
            [moment * _BUCKET_SECONDS for moment in moments],
            [sum(shares[moment]) / len(shares[moment]) for moment in moments],
            label=transport,
        )
    axes.axvline(0, color="grey", linestyle=":")
    axes.set(title="accepted of all that came", xlabel="seconds since the end of the peak", ylim=(0, 1.05))
