"""What the shoppers have seen: counts, latencies, and everything that was acknowledged to them."""

import math
from collections import Counter
from dataclasses import dataclass, field

_STEP = math.log(1.05)
LOST = "LOST"


@dataclass
class Latencies:
    """A histogram with steps of 5 %, so that those of many processes can be added."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        self.counts[math.ceil(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def percentile(self, share: float) -> float:
        """Return seconds; 0 if there are none."""
        left = math.ceil(share * self.counts.total())
        for step in sorted(self.counts):
            left -= self.counts[step]
            if left <= 0:
                return math.exp(step * _STEP)
        return 0.0


@dataclass
class Tally:
    """Counts of a time, by (kind of request, outcome): OK, the reason of a refusal, or LOST."""

    users: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: dict[str, Latencies] = field(default_factory=dict)

    def note(self, kind: str, outcome: str, status: int, seconds: float) -> None:
        self.outcomes[kind, outcome] += 1
        self.statuses[status] += 1
        # How long a refusal takes is not what a buyer waits for.
        if outcome == "OK":
            self.latencies.setdefault(kind, Latencies()).add(seconds)

    def add(self, other: "Tally") -> None:
        """Add the counts of another process or time; the number of users is of the present."""
        self.outcomes += other.outcomes
        self.statuses += other.statuses
        for kind, latencies in other.latencies.items():
            self.latencies.setdefault(kind, Latencies()).counts += latencies.counts

    @property
    def requests(self) -> int:
        return self.outcomes.total()

    @property
    def server_errors(self) -> int:
        return sum(count for status, count in self.statuses.items() if status >= 500)

    @property
    def lost(self) -> int:
        """How many requests got no answer."""
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome == LOST)


@dataclass
class Acknowledged:
    """A reservation as a shopper knows it. `state` is None after a request to end it whose answer was lost."""

    name: str
    customer: str
    units: int
    state: str | None
