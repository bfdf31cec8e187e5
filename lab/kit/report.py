"""Reports of the labs: tables for a terminal or in Markdown, JSON, and plots in files."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

Rows = Sequence[Sequence[object]]
_DOTS_PER_INCH = 100


def columns(rows: Rows) -> list[str]:
    """Return a line per row, the first with the headings. Cells that begin with a digit are aligned to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*texts, strict=True)]
    return ["  ".join(map(_aligned, row, widths)).rstrip() for row in texts]


def markdown(rows: Rows) -> list[str]:
    """Return the same as a table of Markdown."""
    head, *body = [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [head, "|---" * len(rows[0]) + "|", *body]


def write_json(path: Path, document: object) -> None:
    """Write a document as indented JSON. Create the directory if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")


@contextmanager
def figure(path: Path, *shape: int, **options: Any) -> Iterator[Any]:
    """Provide the axes of a figure, and write it to a file at the end. Shape and options are those of `subplots`."""
    drawn, axes = plt.subplots(*shape, layout="constrained", **options)
    yield axes
    drawn.savefig(path, dpi=_DOTS_PER_INCH)
    plt.close(drawn)


def _aligned(cell: str, width: int) -> str:
    return cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
