"""The verdict on each scenario: the same checks for all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.drill.replica import Replica
from lab.drill.request_ledger import Entry, Outcome, RequestLedger
from lab.kit.percentile import percentile

_SHOWN = 4
# The clients that may be refused, by the beginning of their names. Without its database Holdfast must refuse. Clients
# that connect to inventories by name, instead of the edge, find new ones within a connection's age, because gRPC
# resolves a name again only when a connection ends. Gateways resolve it earlier.
MAY_REFUSE = {"database-first": "", "blue-green": "grpc-inventory"}
_UNHURRIED = ("rest-", "grpc-")
_BUSY, _BUSY_SHARE = ("OVERLOADED", "DEADLINE_IN_QUEUE"), 0.01
"""The reasons that are allowed on a machine on which a dozen processes start at once, and the maximum share of a
scenario's requests. Such a refusal keeps the promise, but must be rare."""


@dataclass
class Row:
    """One scenario. Times are seconds since the drill began."""

    name: str
    what: str
    began_at: float
    ended_at: float = 0.0
    requests: int = 0
    refused: int = 0
    failed: int = 0
    retried: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    processes_ended: int = 0
    watches_resumed: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.faults


def judge(row: Row, rows: Sequence[Row], book: RequestLedger, replicas: Sequence[Replica]) -> None:
    """Fill the row in; `rows` are all."""
    entries = [entry for entry in book.entries if _row_of(entry, rows) is row]
    outcomes = Counter(entry.outcome for entry in entries)
    row.requests, row.refused, row.failed = len(entries), outcomes[Outcome.REFUSED], outcomes[Outcome.FAILED]
    row.retried = sum(entry.attempts > 1 for entry in entries)
    row.p50_ms, row.p99_ms = _latencies(entries)
    bad = [entry for entry in entries if entry.outcome is not Outcome.ANSWERED and not _may_be_refused(entry, row)]
    busy = [entry for entry in bad if entry.outcome is Outcome.REFUSED and entry.reason in _BUSY]
    if len(busy) <= _BUSY_SHARE * len(entries):
        bad = [entry for entry in bad if entry not in busy]
    row.faults += _told(bad)
    ended = [
        replica
        for replica in replicas
        if replica.ended_at is not None and row.began_at <= replica.ended_at - book.began_at < row.ended_at
    ]
    row.processes_ended = len(ended)
    for replica in ended:
        row.faults += replica.faults()


def _may_be_refused(entry: Entry, row: Row) -> bool:
    return entry.outcome is Outcome.REFUSED and row.name in MAY_REFUSE and entry.client.startswith(MAY_REFUSE[row.name])


def _row_of(entry: Entry, rows: Sequence[Row]) -> Row | None:
    """Return the scenario in which it began, or the outage that may have affected it."""
    of_outage = [row for row in rows if row.name in MAY_REFUSE and row.began_at < entry.ended_at]
    began_in = [row for row in rows if row.began_at <= entry.began_at]
    met = [row for row in of_outage if entry.began_at < row.ended_at]
    return (met or began_in)[-1] if met or began_in else None


def _told(bad: Sequence[Entry]) -> list[str]:
    """Return failures by client and reason, because one cause makes many requests fail."""
    kinds = Counter(
        (entry.client.rpartition("-")[0] or entry.id.split("-")[0], str(entry.outcome), entry.reason[:160])
        for entry in bad
    )
    told = [f"{count} {outcome}: {client}: {reason}" for (client, outcome, reason), count in kinds.most_common(_SHOWN)]
    if len(kinds) > _SHOWN:
        told.append(f"{sum(kinds.values())} in all, for {len(kinds)} reasons")
    return told


def _latencies(entries: Sequence[Entry]) -> tuple[float, float]:
    times = [
        (entry.ended_at - entry.began_at) * 1000
        for entry in entries
        if entry.outcome is Outcome.ANSWERED and entry.client.startswith(_UNHURRIED)
    ]
    return (percentile(times, 0.5), percentile(times, 0.99)) if times else (0.0, 0.0)
