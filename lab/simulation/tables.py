"""The model's rows: committed ones, and the view of a transaction with its own writes.

Rows are dicts that never change after they are written. They are in partitions, one for each sale, so that a sale's
rows are found without a search in those of others.
"""

from collections import defaultdict
from typing import Any

HELD, CONFIRMED = 1, 2

Row = dict[str, Any]
Rows = dict[Any, Row]
Writes = dict[tuple[str, str, Any], Row | None]
"""Rows by table, partition and key; None: the row is removed."""


class Tables:
    """The committed rows. `open_holds`: a sale's held reservations; `stocked`: its items with units on hand."""

    def __init__(self) -> None:
        self._rows: defaultdict[tuple[str, str], Rows] = defaultdict(dict)
        self.open_holds: defaultdict[str, Rows] = defaultdict(dict)
        self.stocked: defaultdict[str, Rows] = defaultdict(dict)

    def partition(self, table: str, of: str) -> Rows:
        return self._rows[table, of]

    def partitions(self, table: str) -> list[Rows]:
        return [rows for (name, _), rows in self._rows.items() if name == table]

    def put(self, table: str, of: str, key: Any, row: Row | None) -> Row | None:
        """Store a row, or remove it with None. Return the previous row."""
        rows = self._rows[table, of]
        before = rows.get(key)
        if row is None:
            rows.pop(key, None)
        else:
            rows[key] = row
        if table == "reservations":
            _index(self.open_holds[of], key, row, row is not None and row["state"] == HELD)
        elif table == "items":
            _index(self.stocked[of], key, row, row is not None and row["on_hand"] > 0)
        return before

    def apply(self, writes: Writes) -> Writes:
        """Commit writes. Return the writes that undo them."""
        undo = [((table, of, key), self.put(table, of, key, row)) for (table, of, key), row in writes.items()]
        return dict(reversed(undo))


def _index(rows: Rows, key: Any, row: Row | None, belongs: bool) -> None:
    if belongs and row is not None:
        rows[key] = row
    else:
        rows.pop(key, None)


class View:
    """The view of a transaction: its own writes, and rows that are committed now (READ COMMITTED)."""

    __slots__ = ("tables", "writes")

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.writes: Writes = {}

    def get(self, table: str, of: str, key: Any) -> Row | None:
        place = (table, of, key)
        if place in self.writes:
            return self.writes[place]
        return self.tables.partition(table, of).get(key)

    def put(self, table: str, of: str, key: Any, row: Row | None) -> None:
        self.writes[table, of, key] = row

    def rows(self, table: str, of: str) -> list[Row]:
        return self._with_own(self.tables.partition(table, of), table, of)

    def open_holds(self, of: str) -> list[Row]:
        found = self._with_own(self.tables.open_holds[of], "reservations", of)
        return [row for row in found if row["state"] == HELD]

    def _with_own(self, committed: Rows, table: str, of: str) -> list[Row]:
        if not self.writes:
            return list(committed.values())
        merged: dict[Any, Row | None] = dict(committed)
        for (name, partition, key), row in self.writes.items():
            if (name, partition) == (table, of):
                merged[key] = row
        return [row for row in merged.values() if row is not None]
