"""The result as a table, as JSON and as a plot."""

from collections import Counter
from dataclasses import asdict

from lab.kit.report import columns, figure, write_json
from lab.overload.load import milliseconds
from lab.overload.shopping import KINDS
from lab.overload.verdict import aims, faults

_BUCKET_SECONDS = 0.25
_STEP_HEADINGS = (
    *("transport", "load", "offered/s", "goodput/s", "of peak", "p50 ms", "p99 ms", "refused p99", "late p99", "lost"),
    *("accepted of each kind", "refused by reason", "delays"),
)
_OTHERS_HEADINGS = ("transport", "others", "offered/s", "goodput/s", "p99 ms", "accepted of each kind")
_SIZE_HEADINGS = ("process", "MB before", "after", "connections before", "after", "threads before", "after")
_AIM_HEADINGS = ("aim", "reached", "wanted", "")


def table(result):
    lines = columns([_STEP_HEADINGS, *(_step_cells(step, result.capacity[step.transport]) for step in result.steps)])
    others = [_others_cells(each, name, tally) for each, told in result.others.items() for name, tally in told.items()]
    lines += ["", *columns([_OTHERS_HEADINGS, *others])]
    lines += ["", *columns([_SIZE_HEADINGS, *(_size_cells(name, result) for name in result.before)])]
    if not result.confined:
        lines += ["", "The services had their whole core, because this machine does not allow CPU limits."]
    lines += ["", *columns([_AIM_HEADINGS, *map(_aim_cells, aims(result))])]
    lines += [f"FAULT: {fault}" for fault in faults(result)]
    return "\n".join(lines)


def _step_cells(step, capacity):
    tally = step.tally
    rates = f"{tally.offered / tally.seconds:.0f}", f"{tally.goodput:.0f}", f"{tally.goodput / capacity:.0%}"
    latencies = (
        _ms(tally.accepted, 0.5),
        _ms(tally.accepted, 0.99),
        _ms(tally.refused, 0.99),
        _ms(tally.sent_late, 0.99),
    )
    told = tally.indefinite, _shares(tally), _reasons(tally), _delays(tally)
    return step.transport, step.name, *rates, *latencies, *told


def _others_cells(transport, name, tally):
    rates = f"{tally.offered / tally.seconds:.0f}", f"{tally.goodput:.0f}"
    return transport, name, *rates, _ms(tally.accepted, 0.99), _shares(tally)


def _size_cells(name, result):
    before, after = result.before[name], result.after[name]
    resident = (f"{each.resident_bytes / 1e6:.0f}" for each in (before, after))
    return name, *resident, before.connections, after.connections, before.threads, after.threads


def _aim_cells(aim):
    wanted = f"{'>=' if aim.at_least else '<='} {aim.wanted:g}"
    return aim.name, f"{aim.reached:.2f}", wanted, "reached" if aim.is_met else "MISSED"


def write(result, directory):
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
    write_json(directory / "overload.json", document)
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
        "accepted_p50_ms": milliseconds(tally.accepted, 0.5),
        "accepted_p99_ms": milliseconds(tally.accepted, 0.99),
        "refused_p99_ms": milliseconds(tally.refused, 0.99),
        "sent_late_p99_ms": milliseconds(tally.sent_late, 0.99),
        "indefinite": tally.indefinite,
        "outcomes": {f"{kind} {reason}": count for (kind, reason), count in sorted(tally.outcomes.items())},
        "delays": {str(delay): count for delay, count in sorted(tally.delays.items())},
    }


def _ms(values, share):
    return f"{milliseconds(values, share):.1f}"


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
    with figure(path, 2, 2, figsize=(14, 10)) as axes:
        (goodput, latency), (kinds, after) = axes
        _plot_steps(result, goodput, latency)
        _plot_kinds(result, kinds)
        _plot_after(result, after)
        for each in axes.flat:
            each.grid(visible=True, which="both", alpha=0.3)
            each.legend(fontsize="small")


def _plot_steps(result, goodput, latency):
    for transport, capacity in result.capacity.items():
        steps = [step for step in result.steps if step.transport == transport and step.multiple is not None]
        offered = [step.tally.offered / step.tally.seconds / capacity for step in steps]
        goodput.plot(offered, [step.tally.goodput / capacity for step in steps], marker="o", label=transport)
        [line] = latency.plot(offered, [step.p99_ms for step in steps], marker="o", label=f"{transport}, accepted")
        refused = [milliseconds(step.tally.refused, 0.99) or None for step in steps]
        style = {"marker": "x", "linestyle": "--", "color": line.get_color()}
        latency.plot(offered, refused, label=f"{transport}, refused", **style)
    goodput.axhline(0.8, color="grey", linestyle=":")
    goodput.set(title="goodput, of the capacity", xlabel="offered, in multiples of the capacity", xscale="log", ylim=0)
    latency.set(title="99th percentile, ms", xlabel="offered, in multiples of the capacity", xscale="log", yscale="log")


def _plot_kinds(result, axes):
    steps = [step for step in result.steps if step.multiple == max(result.plan.multiples)]
    for number, step in enumerate(steps):
        positions = [position + 0.4 * number for position in range(len(KINDS))]
        axes.bar(positions, [step.tally.share_accepted(kind) or 0.0 for kind in KINDS], 0.38, label=step.transport)
    axes.set(title=f"accepted of each kind at x{max(result.plan.multiples):g}", ylim=(0, 1.05))
    axes.set_xticks([position + 0.2 for position in range(len(KINDS))], KINDS)


def _plot_after(result, axes):
    """Plot the share of accepted requests, in the peak and after it."""
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
