"""The drill's record of requests, independent of the product: each has an id and exactly one final answer."""

import json
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import inf
from pathlib import Path


class Outcome(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"
    """A refusal that says that a retry may help."""
    FAILED = "failed"
    """Anything else: a lost connection, a wrong status, nothing at all."""


@dataclass
class Entry:
    """One request. Times are seconds since the drill began."""

    id: str
    client: str
    operation: str
    reservation: str
    began_at: float
    ended_at: float = inf
    """Its duration; infinite while it is open."""
    attempts: int = 0
    outcome: Outcome | None = None
    reason: str = ""


class RequestLedger:
    """A record of requests that is also written to a file, a line for each finished request."""

    def __init__(self, path: Path) -> None:
        self.began_at = time.monotonic()
        self.entries: list[Entry] = []
        self.open: dict[str, Entry] = {}
        self.faults: list[str] = []
        self._file = path.open("w", encoding="utf-8", buffering=1 << 16)

    def now(self) -> float:
        return time.monotonic() - self.began_at

    def begin(self, request_id: str, client: str, operation: str, reservation: str = "") -> Entry:
        entry = Entry(request_id, client, operation, reservation, self.now())
        if request_id in self.open:
            self.faults.append(f"{request_id} was used twice")
        self.open[request_id] = entry
        return entry

    def end(self, entry: Entry, outcome: Outcome, reason: str = "") -> None:
        if self.open.pop(entry.id, None) is not entry:
            self.faults.append(f"{entry.id} was answered twice")
        entry.ended_at, entry.outcome, entry.reason = self.now(), outcome, reason
        self.entries.append(entry)
        self._file.write(json.dumps(asdict(entry)) + "\n")

    def close(self) -> None:
        self.faults += [f"{request_id} never got an answer" for request_id in self.open]
        self._file.close()
