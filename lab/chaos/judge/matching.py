"""Assignment of effects to operations by a maximum matching, so that nothing is reported that may be explained."""

from collections.abc import Callable, Sequence
from typing import TypeVar

_Row = TypeVar("_Row")
_Cause = TypeVar("_Cause")


def unmatched(rows: Sequence[_Row], causes: Sequence[_Cause], may: Callable[[_Row, _Cause], bool]) -> list[_Row]:
    """Return the rows without a cause in a maximum matching of rows and causes (Kuhn's algorithm)."""
    candidates = [[number for number, cause in enumerate(causes) if may(row, cause)] for row in rows]
    row_of: dict[int, int] = {}

    def assign(row: int, tried: set[int]) -> bool:
        for cause in candidates[row]:
            if cause in tried:
                continue
            tried.add(cause)
            if cause not in row_of or assign(row_of[cause], tried):
                row_of[cause] = row
                return True
        return False

    return [row for number, row in enumerate(rows) if not assign(number, set())]
