"""A sale's report, for people: sums, items, refusals, and the sell-through curve."""

from rich.console import Console

from holdfast.inventory.v1.report_pb2 import SaleReport
from holdfast_cli.output import Format, show_one, table_of

_BLOCKS = "▁▂▃▄▅▆▇█"


def show(console: Console, report: SaleReport) -> None:
    """Print a report."""
    summary = SaleReport()
    summary.CopyFrom(report)
    for name in ("items", "curve", "refusals", "refusal_curve", "refusal_interval"):
        summary.ClearField(name)
    show_one(console, Format.TABLE, summary)
    for messages in (report.items, report.refusals):
        if messages:
            console.print()
            console.print(table_of(list(messages)))
    if report.curve:
        console.print(f"\nsell-through, {report.curve_interval.seconds} s each: {_curve(report)}")


def _curve(report: SaleReport) -> str:
    """Return the reserved units of each interval as blocks."""
    most = max(interval.reserved for interval in report.curve) or 1
    last = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round(last * interval.reserved / most)] for interval in report.curve)
