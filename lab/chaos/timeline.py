"""A picture of a run: the outcomes and durations of requests, and the faults."""

from collections import Counter

from lab.chaos.history import Kind, completions
from lab.kit.report import figure

_COLOURS = {Kind.OK: "#3182bd", Kind.FAIL: "#fdae6b", Kind.INFO: "#de2d26"}
_NAMES = {Kind.OK: "granted", Kind.FAIL: "refused", Kind.INFO: "unknown"}


def plot(events, path):
    """Draw the history into a file."""
    injections = _injections(events)
    height = 5 + 0.14 * len(injections)
    shape = {"figsize": (16, height), "height_ratios": [2, 2, height - 4]}
    with figure(path, 3, sharex=True, **shape) as (rates, latencies, harm):
        _plot_requests(rates, latencies, events)
        _plot_harm(harm, injections)
        for phase in (event for event in events if event.kind is Kind.PHASE):
            for axes in (rates, latencies, harm):
                axes.axvline(phase.at, color="grey", linewidth=0.5)
            rates.text(phase.at, rates.get_ylim()[1], f" {phase.action}", rotation=35, fontsize=8)
        rates.set_xlim(left=events[0].at if events else 0.0)


def _plot_requests(rates, latencies, events):
    ended = [(invoked, completed) for invoked, completed in completions(events).values() if completed is not None]
    for kind, colour in _COLOURS.items():
        counts = Counter(int(completed.at) for _, completed in ended if completed.kind is kind)
        seconds = range(max(counts, default=0) + 1)
        rates.step(seconds, [counts[second] for second in seconds], colour, where="post", label=f"{_NAMES[kind]}/s")
        times = [(invoked.at, completed.at - invoked.at) for invoked, completed in ended if completed.kind is kind]
        latencies.scatter(*zip(*times, strict=True) if times else ((), ()), s=2, color=colour)
    rates.legend(loc="upper right")
    latencies.set_yscale("log")
    latencies.set_ylabel("seconds")


def _plot_harm(axes, injections):
    for row, (begin, end, name) in enumerate(injections):
        axes.barh(row, max(end - begin, 0.1), left=begin, color="#969696")
        axes.text(end, row, f" {name}", fontsize=6, va="center")
    axes.set_yticks([])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")


def _injections(events):
    """Return the begin, the end and the name of each fault."""
    last = events[-1].at if events else 0.0
    begun, found = {}, []
    for event in events:
        if event.kind is Kind.FAULT:
            key = event.action, event.client
            if event.reason == "begin":
                begun[key] = event.at
            elif key in begun:
                found.append((begun.pop(key), event.at, " on ".join(key)))
    found += [(begin, last, " on ".join(key)) for key, begin in begun.items()]
    return sorted(found)
