"""The result as text."""

from collections import Counter

from lab.chaos.history import Kind
from lab.kit.report import columns

_SHOWN = 40


def table(result):
    lines = columns([("fault", "times"), *sorted(result.injections.items())])
    lines += ["", *_operations(result.operations), ""]
    lines += columns([("witnessed", "times"), *result.verdict.witnessed.items()])
    calm, healed = result.paces
    lines += [
        "",
        f"an operation before the faults: {calm}",
        f"an operation after healing: {healed}",
        f"unknown outcomes sent again at the end: {result.replayed}",
    ]
    lines += [f"note: {note}" for note in result.notes]
    lines += [f"VIOLATION {violation}" for violation in result.verdict.violations[:_SHOWN]]
    if len(result.verdict.violations) > _SHOWN:
        lines.append(f"and {len(result.verdict.violations) - _SHOWN} more violations")
    lines += [f"VOID: {reason}" for reason in result.verdict.void_because]
    lines += ["", _conclusion(result)]
    return "\n".join(lines)


def _operations(operations):
    """Return the outcomes of requests by method."""
    kinds, reasons = Counter(), Counter()
    for (kind, action, reason), count in operations.items():
        kinds[action, kind] += count
        if reason:
            reasons[kind, reason] += count
    rows = [
        (action, *(kinds[action, kind] for kind in (Kind.OK, Kind.FAIL, Kind.INFO)))
        for action in sorted({action for action, _ in kinds})
    ]
    lines = columns([("action", "granted", "refused", "unknown"), *rows])
    lines += [f"{kind:5} {count:6}  {reason[:100]}" for (kind, reason), count in sorted(reasons.items())]
    return lines


def _conclusion(result):
    requests = sum(result.operations.values())
    told = f"{requests} requests, {sum(result.injections.values())} injections, {result.seconds:.0f} s"
    if result.verdict.violations:
        return f"FAILED ({len(result.verdict.violations)} violations): {told}"
    return f"{'VOID' if result.verdict.void_because else 'PASSED'}: {told}"
