"""The model's rows: committed ones, and the view of a transaction with its own writes.

Rows are dicts that never change after they are written. They are in partitions, one for each sale, so that a sale's
rows are found without a search in those of others.
"""

from collections import defaultdict

HELD = 1


class Tables:
    """The committed rows. `open_holds`: a sale's held reservations; `stocked`: its items with units on hand."""

    def __init__(self):
        self._rows = defaultdict(dict)
        self.open_holds = defaultdict(dict)
        self.stocked = defaultdict(dict)

    def partition(self, table, of):
        return self._rows[table, of]

    def partitions(self, table):
        return [rows for (name, _), rows in self._rows.items() if name == table]

    def put(self, table, of, key, row):
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

    def apply(self, writes):
        """Commit writes. Return the writes that undo them."""
        undo = [((table, of, key), self.put(table, of, key, row)) for (table, of, key), row in writes.items()]
        return dict(reversed(undo))


def _index(rows, key, row, belongs):
    if belongs:
        rows[key] = row
    else:
        rows.pop(key, None)


class View:
    """The view of a transaction: its own writes, and rows that are committed now (READ COMMITTED)."""

    __slots__ = ("tables", "writes")

    def __init__(self, tables):
        self.tables = tables
        self.writes = {}

    def get(self, table, of, key):
        place = (table, of, key)
        if place in self.writes:
            return self.writes[place]
        return self.tables.partition(table, of).get(key)

    def put(self, table, of, key, row):
        self.writes[table, of, key] = row

    def rows(self, table, of):
        return self._with_own(self.tables.partition(table, of), table, of)

    def open_holds(self, of):
        found = self._with_own(self.tables.open_holds[of], "reservations", of)
        return [row for row in found if row["state"] == HELD]

    def _with_own(self, committed, table, of):
        if not self.writes:
            return list(committed.values())
        merged = dict(committed)
        for (name, partition, key), row in self.writes.items():
            if (name, partition) == (table, of):
                merged[key] = row
        return [row for row in merged.values() if row is not None]
