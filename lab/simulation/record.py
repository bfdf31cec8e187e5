"""The server's rows of a sale, and the commits that wrote them, for the judge."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from lab.simulation.server import Commit, Server
from lab.simulation.tables import Row, Rows

HELD, CONFIRMED, RELEASED, EXPIRED = 1, 2, 3, 4
HOLD, CONFIRM, RELEASE, EXPIRE, ADJUST, TRANSFER, RETURN = 1, 2, 3, 4, 5, 6, 7
_OF_SALES = {"sales", "items", "reservations", "stock_changes", "ledger"}
_COLUMNS = ("kinds", "item_ids", "on_hand_deltas", "held_deltas", "sold_deltas", "reservation_ids", "actors")


@dataclass(frozen=True)
class Entry:
    """One movement of a sale's ledger."""

    sequence: int
    at: datetime
    kind: int
    item_id: str
    on_hand: int
    held: int
    sold: int
    reservation_id: UUID | None
    actor: str


@dataclass
class SaleRecord:
    """The server's rows of a sale, and the commits that wrote them."""

    sale: Row
    entries: list[Entry]
    items: Rows
    reservations: Rows
    stock_changes: Rows
    commits: list[Commit] = field(default_factory=list)

    @property
    def sale_id(self) -> str:
        return str(self.sale["sale_id"])

    def entries_of(self, reservation_id: UUID) -> list[Entry]:
        return [entry for entry in self.entries if entry.reservation_id == reservation_id]

    @cached_property
    def seen(self) -> list[Commit]:
        """Return the visible commits, in the order in which they became visible."""
        return sorted((commit for commit in self.commits if commit.seen_at is not None), key=_seen)

    @cached_property
    def first_written(self) -> dict[tuple[Any, ...], Commit]:
        """Return the commit that wrote each state of a reservation, and each change."""
        written: dict[tuple[Any, ...], Commit] = {}
        for commit in self.commits:
            for (table, of, key), row in commit.writes.items():
                if of != self.sale_id or row is None:
                    continue
                if table == "reservations":
                    written.setdefault(("state", key, row["state"]), commit)
                elif table == "stock_changes":
                    written.setdefault(("change", key), commit)
        return written

    def first_held_until(self, reservation_id: UUID, end: datetime) -> Commit | None:
        """Return the commit since which a reservation lasts at least until the given time.

        A batch may have extended it several times, and writes only the last time.
        """
        for commit in self.commits:
            row = commit.writes.get(("reservations", self.sale_id, reservation_id))
            if row is not None and row["expires_at"] >= end:
                return commit
        return None


def records_of(server: Server) -> Iterator[SaleRecord]:
    """Return a record for each sale of the server."""
    tables = server.tables
    commits: defaultdict[str, list[Commit]] = defaultdict(list)
    for commit in server.log:
        for sale_id in dict.fromkeys(of for table, of, _ in commit.writes if table in _OF_SALES):
            commits[sale_id].append(commit)
    for sale_id in list(commits):
        sale = tables.partition("sales", sale_id).get("")
        if sale is not None:
            yield SaleRecord(
                sale,
                [entry for _, row in sorted(tables.partition("ledger", sale_id).items()) for entry in entries_in(row)],
                dict(tables.partition("items", sale_id)),
                dict(tables.partition("reservations", sale_id)),
                dict(tables.partition("stock_changes", sale_id)),
                commits[sale_id],
            )


def entries_in(row: Row) -> Iterator[Entry]:
    """Return the movements of a row of the ledger, which has those of a batch."""
    for place, values in enumerate(zip(*(row[name] for name in _COLUMNS), strict=True)):
        yield Entry(row["first_sequence"] + place, row["created_at"], *values)


def state_of(rules: Row, now: datetime) -> str:
    """Return the state of a sale at a time, from its row."""
    if rules["cancelled_at"] is not None:
        return "cancelled"
    if rules["close_at"] is not None and rules["close_at"] <= now:
        return "closed"
    if now < rules["open_at"]:
        return "scheduled"
    return "paused" if rules["paused"] else "open"


def _seen(commit: Commit) -> tuple[float, int]:
    return commit.seen_at or 0.0, commit.lsn
